"""The ghost module against its definition, written plainly."""

import pytest
import torch
import torch.nn.functional as F

from mmblocks.layers import GhostBottleneck, GhostModule
from tests.parity import randomise


@pytest.mark.parametrize(('out_channels', 'ratio'), [(8, 2), (7, 2), (10, 3)])
def test_the_module_is_its_definition(out_channels, ratio):
    module = randomise(GhostModule(5, out_channels, ratio=ratio)).eval()
    x = torch.rand(2, 5, 9, 7)

    def norm(y, bn):
        return F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias).relu()

    conv, bn, _ = module.primary_conv
    primary = norm(F.conv2d(x, conv.weight), bn)
    conv, bn, _ = module.cheap_operation
    # One small filter bank per primary map.
    ghosts = torch.cat(
        [
            F.conv2d(
                primary[:, i : i + 1],
                conv.weight[i * (ratio - 1) : (i + 1) * (ratio - 1)],
                padding=1,
            )
            for i in range(primary.shape[1])
        ],
        dim=1,
    )
    expected = torch.cat([primary, norm(ghosts, bn)], dim=1)[:, :out_channels]
    torch.testing.assert_close(module(x), expected)


def test_the_bottleneck_is_linear_at_its_end():
    block = randomise(GhostBottleneck(8, 16, 8)).eval()
    assert block(torch.randn(2, 8, 9, 9)).min() < 0
    assert block.shortcut is None
    assert block.conv_dw is None
