"""ChannelsLastHook in real trainings of a real detector."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

import mmblocks  # noqa: F401
from tests.detecting import batch
from tests.engine.tiny_run import CONFIG


class Pictures(Dataset):
    """Two pictures of noise with boxes, as mmdet's pipelines give them."""

    metainfo = dict(classes=('red', 'green'))

    def __init__(self):
        data = batch(2, shapes=((3, 64, 64), (3, 48, 64)))
        self.items = [
            dict(inputs=inputs, data_samples=sample)
            for inputs, sample in zip(data['inputs'], data['data_samples'], strict=True)
        ]

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return self.items[i]


class Seen(Hook):
    """Notes the losses, and which maps of the backbone are in the format."""

    def __init__(self):
        self.losses, self.formats = [], []

    def before_train(self, runner):
        runner.model.backbone.register_forward_hook(self.note)

    def note(self, module, args, maps):
        is_last = [x.is_contiguous(memory_format=torch.channels_last) for x in (*args, *maps)]
        self.formats.append(all(is_last))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs['loss'].item())


def train(work_dir, hooks):
    cfg = Config.fromstring(CONFIG, '.py')
    torch.manual_seed(0)
    seen = Seen()
    runner = Runner(
        cfg.model,
        str(work_dir),
        train_dataloader=dict(
            batch_size=2,
            dataset=Pictures(),
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        default_hooks=dict(checkpoint=None, logger=None),
        custom_hooks=[*hooks, seen],
        randomness=dict(seed=0),
        default_scope='mmdet',
        experiment_name=f'channels_last_{work_dir.name}',
    )
    runner.train()
    return seen


def test_losses_are_the_same_and_the_backbone_runs_in_the_format(tmp_path):
    plain = train(tmp_path / 'plain', [])
    converted = train(tmp_path / 'converted', [dict(type='mmblocks.ChannelsLastHook')])
    assert plain.formats == [False] * 3
    assert converted.formats == [True] * 3
    assert len(plain.losses) == 3
    assert converted.losses == pytest.approx(plain.losses, rel=1e-4)
