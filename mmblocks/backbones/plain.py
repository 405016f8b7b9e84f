"""Plain nets: layers in a row, numbered as in one flat ``features`` container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from mmcv.cnn import build_activation_layer
from torch import nn

from mmblocks.backbones.base import Group
from mmblocks.layers.conv import build_conv
from mmblocks.layers.norm import build_norm
from mmblocks.utils.types import ConfigType


class LayerCfgs(NamedTuple):
    """What the layers of a net are made of.

    Attributes:
        conv_cfg: Convolution layers; None for Conv2d.
        norm_cfg: Norm behind every convolution; None for none.
        act_cfg: Activation behind every convolution.
        drop_rate: Share of the values that a dropout of the table zeroes in training.
    """

    conv_cfg: ConfigType | None
    norm_cfg: ConfigType | None
    act_cfg: ConfigType
    drop_rate: float = 0.0


class Layer(Protocol):
    """A row of a plain net's table."""

    @property
    def channels(self) -> int:
        """Output channels; 0 where they are those of the input."""

    @property
    def stride(self) -> int:
        """Input pixels per output pixel."""

    def build(self, in_channels: int, cfgs: LayerCfgs) -> list[nn.Module]:
        """Returns the modules, each of which gets a number of its own."""


class Conv(NamedTuple):
    """A convolution with bias, a norm if the net has them, and an activation."""

    channels: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def build(self, in_channels: int, cfgs: LayerCfgs) -> list[nn.Module]:
        """Returns two modules, or three with a norm."""
        modules = [
            build_conv(
                cfgs.conv_cfg,
                in_channels,
                self.channels,
                self.kernel_size,
                stride=self.stride,
                padding=self.padding,
                dilation=self.dilation,
            )
        ]
        if cfgs.norm_cfg is not None:
            modules.append(build_norm(cfgs.norm_cfg, self.channels)[1])
        activation: Any = build_activation_layer(cfgs.act_cfg)
        # Nobody else sees what comes in, so it can be overwritten.
        if hasattr(activation, 'inplace') and 'inplace' not in cfgs.act_cfg:
            activation.inplace = True
        return [*modules, activation]


@dataclass(frozen=True)
class Pool:
    """A max or average pooling."""

    kernel_size: int
    stride: int = 2
    ceil_mode: bool = False
    average: bool = False

    channels: ClassVar[int] = 0

    def build(self, in_channels: int, cfgs: LayerCfgs) -> list[nn.Module]:
        """Returns the pooling."""
        pooling = nn.AvgPool2d if self.average else nn.MaxPool2d
        return [pooling(self.kernel_size, self.stride, ceil_mode=self.ceil_mode)]


@dataclass(frozen=True)
class Dropout:
    """A dropout, or nothing under its number if nothing is to be dropped."""

    channels: ClassVar[int] = 0
    stride: ClassVar[int] = 1

    def build(self, in_channels: int, cfgs: LayerCfgs) -> list[nn.Module]:
        """Returns the dropout."""
        return [nn.Dropout(cfgs.drop_rate) if cfgs.drop_rate else nn.Identity()]


def plain_groups(
    stages: Iterable[Iterable[Layer]], in_channels: int, cfgs: LayerCfgs
) -> Iterator[Group]:
    """Builds the chain of a plain net; each stage of the table is a group that can give an output.

    Args:
        stages: The net's table.
        in_channels: Channels of the images.
        cfgs: What the layers are made of.

    Yields:
        An empty stem, so that ``frozen_stages`` counts the stages, and one group per stage; the
        modules' names are ``features.0``, ``features.1``, ... through all of them.

    Example:
        >>> cfgs = LayerCfgs(None, None, dict(type='ReLU'))
        >>> table = ((Conv(8, 3, padding=1),), (Pool(2), Conv(16, 1)))
        >>> for group in plain_groups(table, 3, cfgs):
        ...     print(list(group.modules), group.channels, group.stride)
        [] 3 1
        ['features.0', 'features.1'] 8 1
        ['features.2', 'features.3', 'features.4'] 16 2
    """
    channels, stride, number = in_channels, 1, 0
    yield Group({}, channels, stride, is_output=False)
    for stage in stages:
        modules: dict[str, nn.Module] = {}
        for layer in stage:
            for module in layer.build(channels, cfgs):
                modules[f'features.{number}'] = module
                number += 1
            channels, stride = layer.channels or channels, stride * layer.stride
        yield Group(modules, channels, stride)
