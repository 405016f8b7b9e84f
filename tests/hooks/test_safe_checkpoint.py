"""There is a whole checkpoint at any time: while one is saved, after a kill, on a full disk."""

import collections
import os
import signal
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from mmblocks.engine.hooks import save_safely
from mmblocks.hooks import SafeCheckpointHook
from mmblocks.utils.errors import UserError
from tests.engine.tiny_run import keep_globals
from tests.killed import limit_files, limits_put_back, signal_that_ended
from tests.weights.tiny_runner import config


@pytest.fixture(autouse=True)
def _globals():
    with keep_globals():
        yield


class Rising(BaseMetric):
    """A metric that is better after each epoch."""

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(epoch=MessageHub.get_current_instance().get_info('epoch'))


class EndWhileSaving(Hook):
    """In the second epoch, a checkpoint can be written in part only, or the process dies then."""

    def __init__(self, best=False, kill=True):
        self.best, self.kill = best, kill

    def before_save_checkpoint(self, runner, checkpoint):
        if checkpoint['meta']['epoch'] == 2 and ('optimizer' in checkpoint) != self.best:
            limit_files(1000, self.kill)


class KillWhileRemoving(Hook):
    """In the second epoch, the process dies when a checkpoint is to be removed."""

    def before_train_epoch(self, runner):
        def remove(path, *args, **kwargs):
            if Path(path).suffix == '.pth':
                os.kill(os.getpid(), signal.SIGKILL)

        if runner.epoch == 1:
            Path.unlink = os.remove = remove


def runner(folder, hook='SafeCheckpointHook', *custom_hooks, epochs=2, **options):
    cfg = config(folder, custom_hooks=list(custom_hooks))
    cfg['train_cfg']['max_epochs'] = epochs
    cfg['val_evaluator'] = Evaluator(Rising())
    cfg['default_hooks']['checkpoint'] = dict(
        type=hook, interval=1, max_keep_ckpts=1, save_best='epoch', rule='greater', **options
    )
    return Runner(**cfg)


def whole(folder):
    """The names of the files in a folder that are whole checkpoints."""
    found = set()
    for path in folder.glob('*.pth'):
        torch.load(path, weights_only=False)  # raises otherwise
        found.add(path.name)
    return found


def test_old_checkpoints_are_removed_as_by_mmengine(tmp_path):
    names = []
    for hook in ('SafeCheckpointHook', 'CheckpointHook'):
        runner(tmp_path / hook, hook, epochs=3).train()
        names.append(whole(tmp_path / hook))
    assert names[0] == names[1] == {'epoch_3.pth', 'best_epoch_epoch_3.pth'}
    assert (tmp_path / 'SafeCheckpointHook' / 'last_checkpoint').read_text().endswith('epoch_3.pth')


@pytest.mark.parametrize(
    ('hook', 'end', 'left'),
    [
        (EndWhileSaving(), signal.SIGXFSZ, {'epoch_1.pth', 'best_epoch_epoch_1.pth'}),
        (EndWhileSaving(best=True), signal.SIGXFSZ, {'epoch_2.pth', 'best_epoch_epoch_1.pth'}),
        (
            KillWhileRemoving(),
            signal.SIGKILL,
            {'epoch_1.pth', 'epoch_2.pth', 'best_epoch_epoch_1.pth'},
        ),
    ],
    ids=['saving', 'saving-the-best', 'removing'],
)
def test_a_kill_leaves_whole_checkpoints(hook, end, left, tmp_path):
    training = runner(tmp_path, 'SafeCheckpointHook', hook)
    assert signal_that_ended(training.train) == end
    assert whole(tmp_path) == left
    parts = list(tmp_path.glob('.*.part'))
    assert len(parts) == (end == signal.SIGXFSZ)
    runner(tmp_path).train()  # anew
    assert not list(tmp_path.glob('.*.part'))


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(tmp_path):
    training = runner(tmp_path, 'SafeCheckpointHook', EndWhileSaving(kill=False))
    with limits_put_back(), pytest.raises(UserError) as caught:
        training.train()
    assert str(caught.value).startswith(
        f'{tmp_path}/epoch_2.pth cannot be written: File too large (it takes 0.0 MB, '
    )
    assert '\n' not in str(caught.value)
    assert whole(tmp_path) == {'epoch_1.pth', 'best_epoch_epoch_1.pth'}
    assert not list(tmp_path.glob('.*.part'))


def test_files_elsewhere_are_not_removed(tmp_path):
    """Whatever a resumed checkpoint calls the best so far."""
    other = tmp_path / 'other' / 'best.pth'
    other.parent.mkdir()
    other.touch()
    training = runner(tmp_path / 'run')
    training.message_hub.update_info('best_ckpt', str(other))
    training.train()
    assert other.exists()
    assert whole(tmp_path / 'run') == {'epoch_2.pth', 'best_epoch_epoch_2.pth'}


def test_the_folder_of_the_checkpoints_may_be_another(tmp_path):
    training = runner(tmp_path / 'run', out_dir=str(tmp_path / 'out'))
    training.train()
    assert whole(tmp_path / 'out' / 'run') == {'epoch_2.pth', 'best_epoch_epoch_2.pth'}
    assert whole(tmp_path / 'run') == set()


@register_backend('elsewhere')
class Elsewhere(LocalBackend):
    """Stands for a store of files that are not local; counts what it is told."""

    told: ClassVar = collections.Counter()

    def put(self, obj, filepath):
        self.told['put'] += 1
        super().put(obj, filepath)

    def remove(self, filepath):
        self.told['remove'] += 1
        super().remove(filepath)


def test_other_backends_are_used_as_ever(tmp_path):
    runner(tmp_path, backend_args=dict(backend='elsewhere')).train()
    assert whole(tmp_path) == {'epoch_2.pth', 'best_epoch_epoch_2.pth'}
    # The first epoch's are removed; each that is the best is saved again to say so.
    assert Elsewhere.told == dict(put=6, remove=2)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ('CheckpointHook', 'mmblocks.SafeCheckpointHook'),
        ('mmengine.CheckpointHook', 'mmblocks.SafeCheckpointHook'),
        (CheckpointHook, 'mmblocks.SafeCheckpointHook'),
        ('mine.CheckpointHook', 'mine.CheckpointHook'),
        (SafeCheckpointHook, SafeCheckpointHook),
    ],
)
def test_it_takes_the_place_of_mmengines_in_a_config(given, expected):
    options = dict(interval=2, max_keep_ckpts=3)
    cfg = Config(dict(default_hooks=dict(checkpoint=dict(type=given, **options))))
    cfg.custom_hooks = [dict(type=given), dict(type='EMAHook')]
    save_safely(cfg)
    assert cfg.default_hooks.checkpoint == dict(type=expected, **options)
    assert [hook.type for hook in cfg.custom_hooks] == [expected, 'EMAHook']


def test_it_is_the_default_and_can_be_left_out():
    for hooks in (dict(), dict(default_hooks=dict(logger=dict(interval=10)))):
        cfg = Config(hooks)
        save_safely(cfg)
        assert cfg.default_hooks.checkpoint == dict(type='mmblocks.SafeCheckpointHook', interval=1)
    none = Config(dict(default_hooks=dict(checkpoint=None)))
    save_safely(none)
    assert none.default_hooks == dict(checkpoint=None)
