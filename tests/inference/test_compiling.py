"""Compiling the inference form."""

import pytest
import torch
from mmengine.model import BaseModule

from mmblocks import to_inference
from tests.backbones.nets import NETS, build
from tests.parity import assert_same_maps, randomise


@pytest.mark.slow
def test_a_net_is_compiled_as_one_graph():
    # Its first stage alone, which has all that its others have.
    net = randomise(build(NETS[0], out_indices=0)).eval()
    fast, x = to_inference(net, compile=True), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert_same_maps(fast(x), net(x), 1e-4)
    assert fast.out_channels == net.out_channels


def test_of_a_detector_backbone_and_neck_are_compiled():
    class Detector(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = build(NETS[0])

    fast = to_inference(Detector(), compile=True)
    assert fast.backbone._compiled_call_impl is not None
    assert fast._compiled_call_impl is None


def test_without_a_compiler_it_says_what_is_missing(monkeypatch):
    monkeypatch.setenv('PATH', '')
    with pytest.raises(RuntimeError, match=r'needs a C\+\+ compiler.* install g\+\+'):
        to_inference(build(NETS[0]), compile=True)
