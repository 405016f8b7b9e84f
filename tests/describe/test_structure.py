"""The structure of a net is drawn as it is, with what is stitched into it."""

import functools
from pathlib import Path

import pytest

from mmblocks import list_backbones
from mmblocks.cli.describe import main
from mmblocks.describe.structure import structure
from tests.backbones.nets import NETS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def show(run_command):
    """Runs the tool in this process; gives its exit code and what it printed."""
    return functools.partial(run_command, main, 'describe_backbones.py', '--show')


@pytest.mark.parametrize('net', NETS, ids=str)
def test_every_net_can_be_drawn(net):
    lines = structure(net.cfg, 64).splitlines()
    assert lines[0] == net.cfg['type']
    assert any('stride' in line for line in lines)


def test_what_is_stitched_stands_where_it_runs():
    text = structure(
        dict(
            type='ResNet',
            depth=18,
            replace_convs=[
                dict(cfg=dict(type='mmblocks.AKConv'), stages=(False, False, False, True))
            ],
            plugins=[
                dict(
                    cfg=dict(type='ConvModule', kernel_size=1),
                    position='parallel',
                    stages=(False, True, False, False),
                )
            ],
        ),
        64,
    )
    assert (
        '│   ├── layer2.0 BasicBlock 64x16x16 -> 128x8x8\n'
        '│   │   └── parallel: conv_block ConvModule -> 128x8x8 (starts as the identity)'
    ) in text
    assert 'layer4.1.conv2 AKConv in place of Conv2d(512, 512, kernel_size=(3, 3)' in text
    assert text.count('AKConv') == 4
    assert text.count('ConvModule') == 2


def test_deformable_convolutions_are_drawn():
    dcn = dict(type='mmblocks.ModulatedDeformConv2d')
    text = structure(
        dict(type='ResNet', depth=18, dcn=dcn, stage_with_dcn=(False, False, False, True)), 64
    )
    assert text.count('ModulatedDeformConv2dPack of dcn -> 512x2x2') == 2


def test_the_tool_shows_a_config_s_backbone(show):
    config = ROOT / 'configs' / 'digits' / 'retinanet_r18_fpn_digits.py'
    code, out, err = show(config, '--image-size', '160')
    assert code == 0, err
    assert 'output 1, stride 8: layer2 -> 128x20x20' in out


def test_the_tool_says_what_is_wrong(show):
    code, _, err = show('ResNett')
    assert code == 2
    assert f'--show ResNett: mmblocks has {list_backbones()[0]}, ' in err
    assert err.count('\n') == 1
