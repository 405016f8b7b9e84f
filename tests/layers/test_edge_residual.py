"""EdgeResidual: equal to mmpretrain's."""

import pytest
import torch

from mmblocks import EdgeResidual
from tests.parity import assert_same_maps, randomise


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(out_channels=12, stride=2),
        dict(kernel_size=5, act_cfg=dict(type='Swish')),
        dict(with_residual=False),
        dict(drop_path_rate=0.5),
        dict(norm_cfg=dict(type='BN', eps=0.1), se_cfg=dict(ratio=4)),
    ],
    ids=str,
)
def test_it_equals_mmpretrains(options, peer):
    theirs_of = peer('mmpretrain.models.backbones.efficientnet').EdgeResidual
    options = dict(in_channels=8, out_channels=8, mid_channels=32) | options
    ours = randomise(EdgeResidual(**options)).eval()
    if 'se_cfg' in options:
        options['se_cfg'] = dict(options['se_cfg'], channels=32)
    theirs = theirs_of(**options).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 8, 9, 11)
    with torch.no_grad():
        assert_same_maps([ours(x)], [theirs(x)])


def test_drop_path_leaves_the_shortcut_alone():
    block = randomise(EdgeResidual(8, 8, 32, drop_path_rate=0.5)).train()
    x = torch.rand(64, 8, 4, 4)
    skipped = (block(x) == x).flatten(1).all(1)
    assert 0 < skipped.sum() < 64
