"""tools/train.py as a user runs it."""

import builtins
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as REGISTRY_OF_HOOKS

from mmblocks.engine import end_process_group
from tests.engine.tiny_run import EPOCHS, ROOT, environment, shell, tool, torchrun, trained
from tests.killed import limit_files, signal_that_ended


@REGISTRY_OF_HOOKS.register_module()
class KillInSecondEpoch(Hook):
    """Ends the process when it has written a part of the second checkpoint."""

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.epoch == 1:
            limit_files(100_000, kill=True)


HOOKS = """
import builtins
import os
import time
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Crash(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and runner.iter == 1:
            raise RuntimeError('rank 1 has had enough')


@HOOKS.register_module()
class Wait(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        open('training', 'w').close()
        time.sleep(0.2)
"""

# Its types are classes.
PURE = """
from mmengine.config import read_base

with read_base():
    from .tiny import *

from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.optim import OneCycleLR
from mmengine.runner import EpochBasedTrainLoop

custom_hooks = [dict(type=EMAHook, ema_type='ExpMomentumEMA', momentum=0.01)]
default_hooks.update(checkpoint=dict(type=CheckpointHook, interval=2))
train_cfg.update(type=EpochBasedTrainLoop)
param_scheduler[0].update(type=OneCycleLR)
"""


BUG = """
import builtins
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module(force=True)
class Bug(Hook):
    def __init__(self, error):
        self.error = error

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        raise getattr(builtins, self.error)('a slip of its author')
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of its own with the config and, by a link, the data of the trained run."""
    source, _ = trained()
    (tmp_path / 'tiny.py').write_text((source / 'tiny.py').read_text())
    (tmp_path / 'data').symlink_to(source / 'data')
    return tmp_path


@pytest.fixture
def checkpoint():
    return trained()[0] / 'work' / f'epoch_{EPOCHS}.pth'


def with_hook(folder, name, **loader):
    (folder / 'slow_hooks.py').write_text(HOOKS)
    (folder / 'hooked.py').write_text(
        "_base_ = './tiny.py'\n"
        "custom_imports = dict(imports=['slow_hooks'])\n"
        f"custom_hooks = [dict(type='{name}')]\n"
        f'train_dataloader = {loader!r}\n'
        'train_cfg = dict(max_epochs=100)\n'
    )


def resume(folder, path, *options, epochs=EPOCHS + 1):
    changes = [f'train_cfg.max_epochs={epochs}', 'train_cfg.val_interval=1', *options]
    return tool(
        'train',
        'tiny.py',
        *('--work-dir', 'work', '--resume', path, '--cfg-options', *changes),
        folder=folder,
    )


def test_training_learns_and_says_so():
    folder, outcome = trained()
    assert outcome.err == ''
    assert outcome.metrics('val')['coco/bbox_mAP_50'] > 0.2
    assert (folder / 'work' / f'epoch_{EPOCHS}.pth').is_file()


def test_resuming_goes_on_where_it_stopped(folder, checkpoint):
    outcome = resume(folder, checkpoint)
    assert outcome.code == 0, outcome.out[-2000:]
    assert f'resumed epoch: {EPOCHS}' in outcome.out
    # The schedule of the checkpoint ran out, and so did the changes that it makes.
    assert outcome.metrics('val') == pytest.approx(trained()[1].metrics('val'), abs=0.05)
    again = resume(folder, folder / 'work' / f'epoch_{EPOCHS + 1}.pth')
    assert 'nothing is left to train' in again.err


def test_mixed_precision_trains_accumulates_and_resumes(folder):
    changes = ['optim_wrapper.accumulative_counts=2', 'optim_wrapper.clip_grad.max_norm=1.0']
    for epochs, resumed in ((1, []), (2, ['--resume'])):
        outcome = tool(
            'train',
            'tiny.py',
            *('--amp', *resumed, '--cfg-options', f'train_cfg.max_epochs={epochs}', *changes),
            'default_hooks.checkpoint.interval=1',
            folder=folder,
        )
        assert outcome.code == 0, outcome.out[-2000:]
        assert "type='BF16OptimWrapper'" in outcome.out
        assert 'grad_norm: ' in outcome.out
    work = folder / 'work_dirs' / 'tiny'
    assert outcome.err.startswith(f'resuming from {work / "epoch_1.pth"}')
    first, second = (torch.load(work / f'epoch_{i}.pth', weights_only=False) for i in (1, 2))
    steps = [next(iter(c['optimizer']['state'].values()))['step'] for c in (first, second)]
    assert steps == [2, 4]  # 3 iterations an epoch, an update every second and at the end
    assert all(value.dtype != torch.bfloat16 for value in second['state_dict'].values())


def test_a_training_that_diverges_ends_before_it_saves(folder):
    hook = "custom_hooks = [dict(type='mmblocks.StopOnDivergenceHook')]"  # which it would add too
    (folder / 'stop.py').write_text(f"_base_ = './tiny.py'\n{hook}\n")
    options = 'optim_wrapper.optimizer.lr=1e30', 'param_scheduler=None', 'work_dir=work'
    outcome = tool('train', 'tiny.py', '--cfg-options', *options, folder=folder)
    assert outcome.code == 2
    assert 'error: training has diverged at epoch 1, iteration ' in outcome.last_error
    assert 'Traceback' not in outcome.out
    assert not list(folder.glob('work/*.pth'))
    goes_on = tool('train', 'stop.py', '--keep-going', '--cfg-options', *options, folder=folder)
    assert goes_on.code == 0, goes_on.out[-2000:]
    assert (folder / 'work' / 'epoch_2.pth').exists()


def test_after_a_kill_while_saving_training_goes_on_from_the_checkpoint_before(folder):
    (folder / 'killed.py').write_text(
        "_base_ = './tiny.py'\ncustom_hooks = [dict(type='KillInSecondEpoch')]\n"
        'default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))\n'
    )
    work = folder / 'work_dirs' / 'killed'
    assert signal_that_ended(lambda: tool('train', 'killed.py', folder=folder)) == signal.SIGXFSZ
    assert [path.name for path in work.glob('*.pth')] == ['epoch_1.pth']
    text = (folder / 'killed.py').read_text().replace('KillInSecondEpoch', 'IterTimerHook')
    (folder / 'killed.py').write_text(text)
    outcome = tool('train', 'killed.py', '--resume', folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert 'resumed epoch: 1' in outcome.out
    assert [path.name for path in work.glob('*.pth')] == ['epoch_2.pth']
    assert not list(work.glob('.*.part'))


def test_a_checkpoint_of_another_model_is_refused(folder, checkpoint):
    outcome = resume(folder, checkpoint, 'model.backbone.base_channels=16')
    assert outcome.code == 2
    assert f'{checkpoint} does not fit RetinaNet: ' in outcome.last_error
    assert (
        ' of another size (backbone.conv1.weight (8, 3, 7, 7) for (16, 3, 7, 7)'
        in outcome.last_error
    )
    assert 'resumed epoch' not in outcome.out


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda c: c['state_dict'].update(extra=torch.ones(1)), '1 without a place here (extra)'),
        (lambda c: c['state_dict'].pop('backbone.conv1.weight'), '1 missing (backbone.conv1'),
        (lambda c: c.pop('optimizer'), 'cannot be resumed: it holds no optimizer'),
        (
            lambda c: c['optimizer']['param_groups'][0]['params'].pop(),
            "cannot be resumed: loaded state dict contains a parameter group that doesn't match",
        ),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(change, expected, folder, checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    change(content)
    torch.save(content, folder / 'changed.pth')
    outcome = resume(folder, 'changed.pth')
    assert outcome.code == 2
    assert expected in outcome.last_error


def test_the_state_of_another_optimizer_is_refused(folder, checkpoint):
    outcome = resume(folder, checkpoint, 'optim_wrapper.optimizer.type=SGD')
    assert outcome.code == 2
    assert 'its optimizer was no SGD, which has dampening, momentum' in outcome.last_error


def test_fine_tuning_takes_what_fits_and_says_so(folder, checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    for name in ('weight', 'bias'):  # of a detector of three classes
        values = content['state_dict'][f'bbox_head.retina_cls.{name}']
        content['state_dict'][f'bbox_head.retina_cls.{name}'] = torch.cat([values, values[:1]])
    (folder / 'my weights').mkdir()
    torch.save(content, folder / 'my weights' / 'a (1).pth')
    options = 'load_from=my weights/a (1).pth', 'train_cfg.max_epochs=1'
    outcome = tool('train', 'tiny.py', '--cfg-options', *options, folder=folder)
    assert outcome.code == 0, outcome.out[-2000:]
    assert 'fits RetinaNet in part: 118 of 120 tensors' in outcome.err
    assert '2 of another size (bbox_head.retina_cls.weight (3, ' in outcome.err


def test_fine_tuning_from_what_does_not_fit_at_all_is_refused(folder):
    torch.save(dict(state_dict={'fc.weight': torch.ones(2)}), folder / 'other.pth')
    outcome = tool('train', 'tiny.py', '--cfg-options', 'load_from=other.pth', folder=folder)
    assert outcome.code == 2
    assert 'other.pth does not fit RetinaNet: 0 of 120 tensors' in outcome.last_error


def test_averaged_weights_train_and_resume(folder):
    (folder / 'ema.py').write_text(
        "_base_ = './tiny.py'\n"
        "custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.01)]\n"
    )
    (folder / 'pure.py').write_text(PURE)
    for config, epochs in (('ema.py', 2), ('pure.py', 4)):
        options = [f'train_cfg.max_epochs={epochs}', 'work_dir=work']
        outcome = tool('train', config, '--resume', '--cfg-options', *options, folder=folder)
        assert outcome.code == 0, outcome.out[-2000:]
    assert 'resumed epoch: 2' in outcome.out
    assert len(outcome.err.splitlines()) == 1  # what it resumes from, and no warning
    content = torch.load(folder / 'work' / 'epoch_4.pth', weights_only=False)
    assert content['ema_state_dict']['steps'] == 12
    tested = tool('test', 'ema.py', 'work/epoch_4.pth', folder=folder)
    assert tested.metrics('test') == outcome.metrics('val')
    plain = tool('train', 'tiny.py', '--resume', 'work/epoch_4.pth', folder=folder)
    assert 'holds averaged weights (EMA), but the config has no EMAHook' in plain.err


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['tinny.py'], 'config not found: tinny.py; did you mean tiny.py?'),
        (['tiny.py', '--resume', 'gone.pth'], 'checkpoint not found: gone.pth'),
        (['tiny.py', '--launcher', 'pytorch'], '--launcher pytorch needs torchrun'),
        (['tiny.py', '--auto-scale-lr'], '--auto-scale-lr needs auto_scale_lr.enable'),
        (['tiny.py', '--cfg-options', 'lr'], "--cfg-options takes KEY=VALUE pairs, not ['lr']"),
        (['tiny.py', '--cfg-options', 'a=dict(b=1,c=2)'], 'write KEY.a=1 for KEY=dict(a=1)'),
        (['tiny.py', '--cfg-options', 'a=[1,(2'], '--cfg-options takes KEY=VALUE pairs'),
        (['tiny.py', '--work-dir', 'tiny.py'], 'work_dir=tiny.py cannot be written: File exists'),
        (['tiny.py', '--work-dir', 'tiny.py/a'], 'tiny.py/a cannot be written: Not a directory'),
        (['tiny.py', '--wrok-dir', 'a'], 'unrecognized arguments: --wrok-dir a'),
        (['tiny.py', '--cfg-options', 'work_dir=5'], 'work_dir=5: must be a path'),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, expected, folder, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    outcome = tool('train', *arguments, folder=folder)
    assert outcome.code == 2
    assert expected in outcome.last_error
    assert 'Traceback' not in outcome.out


def test_the_traceback_is_there_for_those_who_ask(folder, monkeypatch):
    wrong = ('tiny.py', '--cfg-options', 'model.backbone.depth=19')
    for options in ((), ('--debug',)):
        outcome = tool('train', *wrong, *options, folder=folder)
        assert outcome.code == 2
        assert ('Traceback' in outcome.err) is bool(options)
        assert outcome.last_error.startswith('error: model.backbone (ResNet): ')
    monkeypatch.setenv('MMBLOCKS_DEBUG', '1')
    assert 'Traceback' in tool('train', 'tinny.py', folder=folder).err


@pytest.mark.parametrize('error', ['RuntimeError', 'TypeError', 'KeyError', 'AssertionError'])
def test_a_bug_in_running_code_keeps_its_traceback(error, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, 'bug_hooks', raising=False)
    (folder / 'bug_hooks.py').write_text(BUG)
    (folder / 'bug.py').write_text(
        "_base_ = './tiny.py'\ncustom_imports = dict(imports=['bug_hooks'])\n"
        f"custom_hooks = [dict(type='Bug', error='{error}')]\n"
    )
    with pytest.raises(getattr(builtins, error), match='a slip of its author'):
        tool('train', 'bug.py', folder=folder)


def test_from_the_shell_the_exit_code_is_2_and_the_error_one_line(folder):
    outcome = shell(sys.executable, ROOT / 'tools' / 'train.py', 'tinny.py', folder=folder)
    assert outcome.code == 2
    assert outcome.err == 'error: config not found: tinny.py; did you mean tiny.py?\n'


@pytest.mark.slow
def test_two_processes_train_to_the_same_metrics(folder):
    outcome = torchrun('train', 'tiny.py', '--launcher', 'pytorch', folder=folder)
    assert outcome.code == 0, outcome.out[-3000:]
    assert 'Distributed training: True' in outcome.out
    assert outcome.metrics('val').keys() == trained()[1].metrics('val').keys()
    assert 'destroy_process_group' not in outcome.err  # torch warns if it was forgotten
    assert not (folder / '.dist_test').exists()
    saved = folder / 'work_dirs' / 'tiny' / 'epoch_2.pth'
    assert tool('test', 'tiny.py', saved, folder=folder).code == 0


def test_sync_bn_is_refused_in_a_process_group_of_cpus(folder, monkeypatch):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    group = dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    for name, value in group.items():
        monkeypatch.setenv(name, str(value))
    norm = 'model.backbone.norm_cfg.type=SyncBN'
    try:
        outcome = tool(
            'train', 'tiny.py', '--launcher', 'pytorch', '--cfg-options', norm, folder=folder
        )
    finally:
        end_process_group()
    assert outcome.code == 2
    assert 'SyncBN needs GPUs; on the CPU take norm_cfg=' in outcome.last_error


@pytest.mark.slow
def test_a_crash_in_one_process_ends_all(folder):
    with_hook(folder, 'Crash')
    start = time.monotonic()
    outcome = torchrun('train', 'hooked.py', '--launcher', 'pytorch', folder=folder)
    assert outcome.code not in (0, None)
    assert 'rank 1 has had enough' in outcome.err
    assert time.monotonic() - start < 200  # and does not wait for the other


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='there are no POSIX signals')
def test_interrupting_leaves_nobody_behind(folder):
    with_hook(folder, 'Wait', num_workers=1, persistent_workers=True)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools' / 'train.py'), 'hooked.py'],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (folder / 'training').exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith('interrupted\n')
    assert 'Traceback' not in err
    time.sleep(1)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # its group is empty
