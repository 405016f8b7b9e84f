"""A trial sees what a layer gives and whether it writes into its input, and changes nothing."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmblocks.utils.probe import Probe, clone_input, probe_layer


class OnlyOn(nn.Module):
    """Runs on one kind of device, or on none, and fills in a map of one channel."""

    inplace = True

    def __init__(self, device):
        super().__init__()
        self.device = device

    def forward(self, x):
        if x.device.type != self.device:
            raise NotImplementedError
        return x[:, :1]


@pytest.mark.parametrize(
    ('layer', 'expected'),
    [
        (nn.Conv2d(3, 4, 3), Probe((4, 6, 7), False)),
        (nn.ReLU(inplace=True), Probe((3, 8, 9), True)),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)), Probe((3, 8, 9), False)),
        (nn.Dropout(inplace=True), Probe((3, 8, 9), True)),
        (nn.Sequential(nn.Identity(), nn.SiLU(inplace=True)), Probe((3, 8, 9), True)),
        (nn.SyncBatchNorm(3), Probe((3, 8, 9), False)),
        (OnlyOn('cpu'), Probe((1, 8, 9), False)),
        # What can run nowhere is believed, and taken at its word.
        (OnlyOn('cuda'), Probe(None, True)),
    ],
    ids=repr,
)
def test_a_trial_tells_what_a_layer_does(layer, expected):
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    seed = torch.get_rng_state()
    assert probe_layer(layer, (3, 8, 9)) == expected
    assert_close(dict(layer.state_dict()), state)
    assert torch.equal(torch.get_rng_state(), seed)
    assert layer.training


@pytest.mark.parametrize(
    ('layer', 'expected'),
    [
        (nn.Conv2d(5, 4, 3), 'it cannot take 3x8x9: .*5 channels'),
        (nn.MaxPool2d(2, return_indices=True), 'it cannot take 3x8x9: it gives a tuple'),
    ],
)
def test_what_a_layer_cannot_take_is_explained(layer, expected):
    with pytest.raises(ValueError, match=expected):
        probe_layer(layer, (3, 8, 9))


def test_a_spared_input_stays_as_it_was():
    layer = nn.ReLU(inplace=True)
    clone_input(layer)
    x = torch.randn(2, 3)
    before = x.clone()
    assert_close(layer(x), before.relu())
    assert torch.equal(x, before)
