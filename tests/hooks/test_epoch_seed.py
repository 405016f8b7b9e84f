"""A training that was interrupted and resumed gives what it would have given without."""

import pytest
import torch
from mmengine.config import Config

from mmblocks.engine import build_runner, prepare
from mmblocks.hooks.epoch_seed import epoch_seed
from tests.engine.tiny_run import CONFIG, keep_globals, write_workspace

# Something is drawn for each image where it is loaded, and where the model is.
FLIP = dict(type='RandomFlip', prob=0.5)
DISTORTION = dict(type='PhotoMetricDistortion')
SAMPLER = dict(
    type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=False
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = write_workspace(tmp_path / 'workspace')
    monkeypatch.chdir(folder)
    with keep_globals():
        yield folder


def config(workers, by_epoch=True, seed=0):
    cfg = Config.fromstring(CONFIG, '.py')
    loader = cfg.train_dataloader
    loader.dataset.pipeline[2:2] = [FLIP, DISTORTION]
    loader.update(workers)
    cfg.model.bbox_head.loss_cls.type = 'CrossEntropyLoss'
    cfg.model.train_cfg.sampler = SAMPLER
    cfg.param_scheduler, cfg.randomness = None, dict(seed=seed)
    checkpoint = dict(type='CheckpointHook', interval=1 if by_epoch else 2, by_epoch=by_epoch)
    cfg.default_hooks = dict(checkpoint=checkpoint)
    if not by_epoch:
        cfg.log_processor = dict(by_epoch=False)
        loader.sampler.type = 'InfiniteSampler'
    return cfg


def train(cfg, until, resume=None):
    by_epoch = cfg.default_hooks.checkpoint.by_epoch
    loop, unit = ('EpochBased', 'epoch') if by_epoch else ('IterBased', 'iter')
    # Validation draws random numbers too, and comes between.
    interval = 2 if by_epoch else 3
    cfg.train_cfg = {'type': f'{loop}TrainLoop', f'max_{unit}s': until, 'val_interval': interval}
    work_dir = 'resumed' if resume else 'whole'
    runner = build_runner(prepare(cfg, work_dir=work_dir, resume=resume))
    runner.train()
    return torch.load(f'{work_dir}/{unit}_{until}.pth', weights_only=False)


def assert_same(first, second):
    for kind in ('state_dict', 'optimizer'):
        torch.testing.assert_close(first[kind], second[kind], rtol=0, atol=0)
    for name, losses in first['message_hub']['log_scalars'].items():
        if 'loss' in name:
            assert (
                losses.data[0].tolist()
                == second['message_hub']['log_scalars'][name].data[0].tolist()
            )


@pytest.mark.parametrize(
    ('workers', 'seed'),
    [
        (dict(num_workers=0), None),  # then MMEngine draws one, which the checkpoint keeps
        (dict(num_workers=2, persistent_workers=True), 0),
        (dict(num_workers=1, persistent_workers=False), 0),
    ],
    ids=str,
)
def test_after_an_epoch(workers, seed, folder):
    whole = train(config(workers, seed=seed), 3)
    resumed = train(config(workers, seed=seed), 3, resume='whole/epoch_1.pth')
    assert_same(whole, resumed)


@pytest.mark.parametrize('workers', [dict(num_workers=0), dict(num_workers=2)], ids=str)
def test_after_an_iteration(workers, folder):
    whole = train(config(workers, by_epoch=False), 6)
    resumed = train(config(workers, by_epoch=False), 6, resume='whole/iter_4.pth')
    assert_same(whole, resumed)


def test_epochs_differ():
    seeds = {epoch_seed(seed, number) for seed in range(10) for number in range(10)}
    assert len(seeds) == 100
    assert max(seeds) < 2**31
