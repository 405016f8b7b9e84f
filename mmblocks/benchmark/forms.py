"""Further forms of our nets that can be measured beside the plain ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

import mmblocks
from mmblocks.benchmark.nets import BenchmarkNet
from mmblocks.benchmark.peers import build_ours


class Form(NamedTuple):
    """A form of a net of ours.

    Attributes:
        training: Whether it is one for training, else for inference.
        make: Makes it of the row of the table and the plain net.
    """

    training: bool
    make: Callable[[BenchmarkNet, nn.Module], nn.Module]


def _with_cp(value: bool | str) -> Callable[[BenchmarkNet, nn.Module], nn.Module]:
    def make(net: BenchmarkNet, plain: nn.Module) -> nn.Module:
        model = build_ours(net, with_cp=value).to(next(plain.parameters()).device)
        model.load_state_dict(plain.state_dict())
        return model

    return make


def _channels_last(net: BenchmarkNet, plain: nn.Module) -> nn.Module:
    return copy.deepcopy(plain).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _to_inference(net: BenchmarkNet, plain: nn.Module) -> nn.Module:
    convert: Callable[[nn.Module], nn.Module] = getattr(mmblocks, 'to_inference')  # noqa: B009
    return convert(plain.eval())


FORMS = {
    'with_cp': Form(True, _with_cp(True)),
    'norm_act': Form(True, _with_cp('norm_act')),
    'channels_last': Form(True, _channels_last),
}
if hasattr(mmblocks, 'to_inference'):
    FORMS['to_inference'] = Form(False, _to_inference)
