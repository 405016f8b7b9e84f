"""What of a checkpoint is checked is what is loaded, and where a training goes on from."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook

from mmblocks.engine import UserError, build_runner, prepare
from tests.engine.tiny_run import CONFIG, EPOCHS, keep_globals, tool, trained

AVERAGE = dict(type='EMAHook', momentum=0.01)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of its own with the config and, by a link, the data of the trained run."""
    source, _ = trained()
    (tmp_path / 'tiny.py').write_text((source / 'tiny.py').read_text())
    (tmp_path / 'data').symlink_to(source / 'data')
    monkeypatch.chdir(tmp_path)
    with keep_globals():
        yield tmp_path


@pytest.fixture(scope='module')
def content():
    path = trained()[0] / 'work' / f'epoch_{EPOCHS}.pth'
    return torch.load(path, weights_only=False)


def config(**changes):
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return prepare(cfg, work_dir='work')


def empty(state_dict):
    return {name: torch.zeros_like(value) for name, value in state_dict.items()}


def with_prefix(state_dict):
    return {f'module.{name}': value for name, value in state_dict.items()}


CONTAINERS = {
    'state_dict': lambda weights: dict(state_dict=weights),
    'model': lambda weights: dict(model=weights),
    'ema-in-model': lambda weights: dict(ema=dict(model=weights), epoch=3),
    'module': lambda weights: dict(module=weights, optimizer=dict()),
    'prefix': lambda weights: dict(model=with_prefix(weights)),
    'bare': lambda weights: weights,
    'average-first': lambda weights: dict(state_dict=empty(weights), model_ema=weights),
    'raw-under-ema': lambda weights: dict(state_dict=weights, ema_state_dict=empty(weights)),
    'runners-own': lambda weights: dict(
        state_dict=weights, model_ema=empty(weights), message_hub={}
    ),
}


@pytest.mark.parametrize('container', CONTAINERS)
def test_training_starts_from_what_was_checked(container, folder, content):
    torch.save(CONTAINERS[container](content['state_dict']), 'a.pth')
    runner = build_runner(config(load_from='a.pth', custom_hooks=[AVERAGE]))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.call_hook('before_run')
    runner._init_model_weights()  # as Runner.train does behind the check and before loading
    runner.load_or_resume()
    torch.testing.assert_close(
        runner.model.state_dict(), content['state_dict'], rtol=0, atol=0, check_device=False
    )
    average = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model.module
    torch.testing.assert_close(average.state_dict(), content['state_dict'], rtol=0, atol=0)


def test_what_was_checked_is_tested(folder, content):
    torch.save(CONTAINERS['average-first'](content['state_dict']), 'a.pth')
    outcome = tool('test', 'tiny.py', 'a.pth', folder=folder)
    assert outcome.metrics('test') == trained()[1].metrics('val')


def test_a_training_goes_on_from_its_own_weights(folder, content):
    """And not from another trainer's average beside them, which its optimizer does not know."""
    torch.save(dict(content, model_ema=empty(content['state_dict'])), 'a.pth')
    cfg = config(train_cfg__max_epochs=EPOCHS)
    cfg.resume, cfg.load_from = True, 'a.pth'
    assert_resumes(cfg, content)


def assert_resumes(cfg, content):
    """Builds the runner and resumes, without an epoch left to train."""
    runner = build_runner(cfg)
    runner.train()
    torch.testing.assert_close(runner.model.state_dict(), content['state_dict'], rtol=0, atol=0)


# What prevents last_checkpoint from naming the newest checkpoint, and what is said then.
STATES = {
    'missing': (lambda pointer: pointer.unlink(), 'last_checkpoint names no checkpoint'),
    'empty': (lambda pointer: pointer.write_text(''), 'last_checkpoint names no checkpoint'),
    'gone': (
        lambda pointer: pointer.write_text('/gone/epoch_9.pth'),
        'checkpoint not found: /gone/epoch_9.pth',
    ),
    'cut': (
        lambda pointer: pointer.write_text(str(pointer.with_name('cut.pth').resolve())),
        'cut.pth is truncated',
    ),
}


@pytest.mark.parametrize('state', STATES)
def test_resuming_falls_back_to_the_newest_whole_checkpoint(state, folder, content, capsys):
    spoil, said = STATES[state]
    work = Path('work')
    work.mkdir()
    for age, name in ((3, 'older.pth'), (2, 'newest.pth'), (1, 'cut.pth'), (0, 'weights.pth')):
        torch.save(content if name != 'weights.pth' else content['state_dict'], work / name)
        os.utime(work / name, (1e9 - age, 1e9 - age))
    (work / 'cut.pth').write_bytes((work / 'cut.pth').read_bytes()[:-1000])
    os.utime(work / 'cut.pth', (1e9 - 1, 1e9 - 1))
    (work / '.epoch_3.pth.1234.part').write_bytes(b'PK')
    (work / 'last_checkpoint').write_text('to be changed')
    spoil(work / 'last_checkpoint')
    cfg = prepare(config(train_cfg__max_epochs=EPOCHS), resume='auto')
    assert (cfg.resume, Path(cfg.load_from)) == (True, work / 'newest.pth')
    warning, note = capsys.readouterr().err.splitlines()
    assert said in warning
    assert warning.endswith(': taking work/newest.pth, the newest beside it that is whole')
    assert note == 'resuming from work/newest.pth, the latest in work'


def test_a_work_folder_that_was_moved_is_resumed_from(folder, content, capsys):
    Path('work').mkdir()
    torch.save(content, 'work/epoch_2.pth')
    torch.save(content, 'work/newer.pth')
    Path('work/last_checkpoint').write_text('/where/it/was/epoch_2.pth')
    assert prepare(config(), resume='auto').load_from == 'work/epoch_2.pth'
    assert capsys.readouterr().err == 'resuming from work/epoch_2.pth, the latest in work\n'


def test_checkpoints_in_a_folder_of_their_own_are_found(folder, content):
    Path('out/work').mkdir(parents=True)
    torch.save(content, 'out/work/epoch_2.pth')
    cfg = prepare(config(default_hooks__checkpoint__out_dir='out'), resume='auto')
    assert cfg.load_from == 'out/work/epoch_2.pth'


@pytest.mark.parametrize(
    ('change', 'lacking'),
    [
        (lambda c: c.pop('message_hub'), 'message_hub'),
        (lambda c: c['meta'].pop('epoch'), 'meta.epoch'),
        (lambda c: c['meta'].update(iter='x'), 'meta.iter'),
        (lambda c: c.update(meta=[]), 'meta'),
        (lambda c: c.update(optimizer=None, model=c.pop('state_dict')), 'state_dict, optimizer'),
    ],
)
def test_what_a_checkpoint_lacks_to_be_resumed_is_named(change, lacking, folder, content):
    content = dict(content, meta=dict(content['meta']))
    change(content)
    torch.save(content, 'a.pth')
    cfg = config(load_from='a.pth')
    cfg.resume = True
    with pytest.raises(
        UserError, match=f'a.pth cannot be resumed: it holds no {lacking}; to start'
    ):
        build_runner(cfg)


@pytest.mark.parametrize('given', [['a', 'b.pth'], 123])
def test_a_checkpoint_is_named_by_a_string(given, folder):
    with pytest.raises(UserError, match='load_from must be the path or address of a checkpoint'):
        build_runner(config(load_from=given))
