"""GhostNet: equal to timm's."""

import pytest
import torch

from mmblocks import GhostNet
from tests.parity import assert_same_maps, gradients, randomise


def timm_maps(model, x):
    """The output of each of timm's stages."""
    x = model.act1(model.bn1(model.conv_stem(x)))
    maps = []
    for stage in model.blocks:
        x = stage(x)
        maps.append(x)
    return maps


def pair(peer, width, **options):
    name = f'ghostnet_{round(width * 100):03d}'
    theirs = randomise(peer('timm').create_model(name)).eval()
    ours = GhostNet(width, out_indices=range(10), **options).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize('width', [0.5, 1.0, 1.3])
def test_it_equals_timm(width, peer):
    ours, theirs = pair(peer, width)
    x = torch.rand(2, 3, 75, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))


def test_gradients_equal_timms(peer):
    ours, theirs = pair(peer, 0.5)
    x = torch.rand(2, 3, 75, 97, dtype=torch.float64)
    grads, dx = gradients(ours.double().train(), ours, x)
    their_grads, their_dx = gradients(theirs.double().train(), lambda x: timm_maps(theirs, x), x)
    torch.testing.assert_close(dx, their_dx, rtol=1e-8, atol=1e-8 * their_dx.abs().max().item())
    assert grads.keys() == their_grads.keys()
    for name, grad in their_grads.items():
        torch.testing.assert_close(
            grads[name], grad, rtol=1e-8, atol=1e-8 * max(1, grad.abs().max().item())
        )


def test_the_default_gives_the_last_group_of_each_stride():
    net = GhostNet()
    assert net.out_channels == (24, 40, 112, 160)
    assert net.out_strides == (4, 8, 16, 32)


@pytest.mark.parametrize('width', [0, -1.0, '1'])
def test_a_width_that_cannot_be_is_named(width):
    with pytest.raises(ValueError, match='widen_factor'):
        GhostNet(width)
