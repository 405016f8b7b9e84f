"""The Inception block and its auxiliary classifier against torchvision's."""

import pytest
import torch
from torch.testing import assert_close

from mmblocks.layers import Inception, InceptionAux
from tests.parity import randomise


@pytest.mark.parametrize('size', [(9, 7), (1, 2)])
def test_the_block_is_torchvisions(peer, size):
    widths = (6, 4, 3, 8, 2, 5, 7)
    theirs = randomise(peer('torchvision.models.googlenet').Inception(*widths)).eval()
    ours = Inception(*widths).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 6, *size)
    assert_close(ours(x), theirs(x))
    assert ours.out_channels == 4 + 8 + 5 + 7


@pytest.mark.parametrize('size', [(14, 14), (15, 9), (2, 3)])
def test_the_auxiliary_classifier_is_torchvisions(peer, size):
    theirs = randomise(peer('torchvision.models.googlenet').InceptionAux(6, 5)).eval()
    ours = InceptionAux(6, 5).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 6, *size)
    assert_close(ours(x), theirs(x))
