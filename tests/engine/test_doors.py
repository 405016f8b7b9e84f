"""Whatever way a checkpoint comes in: nothing that it holds is run."""

import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmblocks
from mmblocks.cli import convert as convert_cli
from mmblocks.engine import guard_loaders
from tests.engine.tiny_run import EPOCHS, keep_globals, tool, trained


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the config, the data, and in work/ a checkpoint with code in every string."""
    source, _ = trained()
    monkeypatch.chdir(tmp_path)
    Path('tiny.py').write_text((source / 'tiny.py').read_text())
    Path('data').symlink_to(source / 'data')
    Path('ema.py').write_text("_base_ = './tiny.py'\ncustom_hooks = [dict(type='EMAHook')]\n")
    code = f"ran = open({str(tmp_path / 'code-ran')!r}, 'w')"
    content = torch.load(source / 'work' / f'epoch_{EPOCHS}.pth', weights_only=False)
    content['meta'] |= dict(config='', cfg='', CLASSES=['', ''])
    content['message_hub']['runtime_info'] |= dict(cfg='', best_ckpt='', last_ckpt='')
    for part in ('meta', 'message_hub'):
        content[part] = with_code(content[part], code)
    content['state_dict']._metadata = {name: dict(version=2) for name in ('', code)}
    Path('work').mkdir()
    torch.save(content, 'work/a.pth')
    Path('work/last_checkpoint').write_text('work/a.pth')
    with keep_globals():
        yield tmp_path
    assert not Path('code-ran').exists()


def with_code(value, code):
    """The same with the code in the place of every string that is no key."""
    if isinstance(value, str):
        return code
    if isinstance(value, dict):
        return type(value)((key, with_code(item, code)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(with_code(item, code) for item in value)
    return value


def train(config, *arguments):
    options = [f'train_cfg.max_epochs={EPOCHS + 1}', 'train_cfg.val_interval=1']
    options += ['default_hooks.checkpoint.save_best=coco/bbox_mAP_50', *arguments[1:]]
    outcome = tool(
        'train', config, '--work-dir', 'work', *arguments[:1], '--cfg-options', *options, folder='.'
    )
    assert outcome.code == 0, outcome.out[-2000:]
    assert 'Epoch(val)' in outcome.out


def resume(folder):
    train('ema.py', '--resume=work/a.pth')


def resume_the_latest(folder):
    train('tiny.py', '--resume')


def load_from(folder):
    train('ema.py', '--launcher=none', 'load_from=work/a.pth', 'train_cfg.max_epochs=1')


def evaluate(folder):
    options = ('--out', 'out.pkl', '--tta', '--show-dir', 'drawn')
    outcome = tool('test', 'ema.py', 'work/a.pth', *options, folder='.')
    assert outcome.code == 0, outcome.out[-2000:]
    assert Path('out.pkl').exists()


def convert(folder):
    net = ('--arch', 'ResNet', '--arch-options', 'depth=18', 'base_channels=8')
    sys.argv = ['convert', 'work/a.pth', 'b.pth', *net, '--prefix', 'backbone']
    convert_cli.main()


def init_cfg(folder):
    given = dict(type='Pretrained', checkpoint='work/a.pth', prefix='backbone.')
    options = dict(depth=18, base_channels=8, out_indices=(1, 2, 3), init_cfg=given)
    mmblocks.ResNet(**options).init_weights()
    guard_loaders()
    from mmdet.models import ResNet

    with DefaultScope.overwrite_default_scope('mmdet'):
        ResNet(**options).init_weights()


def init_detector(folder):
    from mmdet.apis import init_detector

    guard_loaders()
    init_detector(Config.fromfile('tiny.py'), 'work/a.pth', device='cpu')


def infer_without_a_config(folder):
    from mmdet.apis import DetInferencer

    guard_loaders()
    with pytest.raises(ValueError, match='Cannot find the config in the checkpoint'):
        DetInferencer(weights='work/a.pth', device='cpu')


@pytest.mark.parametrize(
    'door',
    [
        *(resume, resume_the_latest, load_from, evaluate, convert, init_cfg),
        *(init_detector, infer_without_a_config),
    ],
)
def test_no_code_in_a_checkpoint_runs(door, folder, monkeypatch):
    monkeypatch.setattr(sys, 'argv', sys.argv)
    door(folder)
