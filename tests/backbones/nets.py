"""One line per backbone: the smallest form of it that the generic tests can run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.registry import MODELS

from mmblocks import BaseBackbone


class Net(NamedTuple):
    """A backbone under test.

    Attributes:
        cfg: Its config, small.
        num_outputs: How many outputs can be asked for.
        in_channels: Channels of its images.
        shrinks: By how many pixels a map may fall short of the image's size over its stride,
            rounded up: 0 where every layer pads, as in the newer nets.
        has_classifier: Whether it takes ``num_classes``.
        classifies: Height and width of the images that its classifier takes.
    """

    cfg: dict[str, Any]
    num_outputs: int
    in_channels: int = 3
    shrinks: int = 0
    has_classifier: bool = False
    classifies: int = 64

    def expects(self, size: tuple[int, ...], image_size: tuple[int, ...], stride: int) -> bool:
        """Whether a map may have this height and width."""
        return all(
            math.ceil(image / stride) - self.shrinks <= pixels <= math.ceil(image / stride)
            for pixels, image in zip(size, image_size, strict=True)
        )

    def __str__(self) -> str:
        """Names the test case."""
        return '-'.join(str(value) for value in self.cfg.values())


NETS = (
    Net(dict(type='ResNet', depth=18, base_channels=8), 4),
    Net(dict(type='ResNet', depth=50, base_channels=8), 4),
    Net(dict(type='ResNetV1c', depth=18, base_channels=8), 4),
    Net(dict(type='ResNetV1d', depth=50, base_channels=8), 4),
    Net(dict(type='ResNeXt', depth=50, base_channels=8, groups=4, base_width=4), 4),
    Net(dict(type='SEResNet', depth=50, base_channels=8), 4),
    Net(dict(type='GhostNet', widen_factor=0.25), 10),
    Net(dict(type='MobileNetV1', widen_factor=0.25), 5),
    Net(dict(type='MobileNetV2', widen_factor=0.25), 8),
    Net(dict(type='MobileNetV3', arch='small_050'), 13),
    Net(dict(type='MobileNetV4', arch='conv_medium', widen_factor=0.25), 5),
    Net(dict(type='ShuffleNetV1', groups=3, widen_factor=0.25), 3),
    Net(dict(type='ShuffleNetV2', widen_factor=0.5), 4),
    Net(dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125), 5),
    Net(dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125, block='C2f'), 5),
    Net(
        dict(type='DenseNet', arch=dict(growth_rate=8, depths=[2, 2, 2, 2], init_channels=16)),
        4,
        shrinks=1,
        has_classifier=True,
    ),
    Net(
        dict(
            type='EfficientNet',
            arch=dict(family='b', widen_factor=0.25, deepen_factor=0.3),
            act_cfg=dict(type='SiLU'),
        ),
        7,
        has_classifier=True,
    ),
    Net(
        dict(type='EfficientNet', arch=dict(family='e', widen_factor=0.25, deepen_factor=0.3)),
        7,
        has_classifier=True,
    ),
    Net(dict(type='GoogLeNet'), 5, shrinks=1, has_classifier=True),
    Net(
        dict(type='LeNet5', in_channels=3, norm_cfg=dict(type='BN')),
        3,
        shrinks=8,
        has_classifier=True,
        classifies=32,
    ),
    Net(dict(type='AlexNet', norm_cfg=dict(type='BN')), 4, shrinks=2, has_classifier=True),
    Net(dict(type='VGG', depth=11, norm_cfg=dict(type='BN')), 5, shrinks=1, has_classifier=True),
    Net(dict(type='NIN', norm_cfg=dict(type='BN')), 4, shrinks=3, has_classifier=True),
    Net(
        dict(type='SqueezeNet', arch='1_1', norm_cfg=dict(type='BN')),
        4,
        shrinks=1,
        has_classifier=True,
    ),
    Net(
        dict(type='InceptionNeXt', arch=dict(depths=[1, 1, 2, 1], widths=[32, 64, 64, 128])),
        4,
        shrinks=1,
        has_classifier=True,
    ),
    Net(
        dict(type='SENet', arch='26_32x4d', base_channels=8),
        4,
        shrinks=1,
        has_classifier=True,
    ),
    Net(dict(type='PreActSEResNet', depth=18, base_channels=8), 4, has_classifier=True),
)
every_net = pytest.mark.parametrize('net', NETS, ids=str)


def build(net: Net, **options: Any) -> BaseBackbone:
    """Builds a net of the table, with further options."""
    return MODELS.build(dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', **options))


def images(
    net: Net, height: int = 64, width: int = 64, batch: int = 2, **kwargs: Any
) -> torch.Tensor:
    """Draws images that a net of the table takes."""
    return torch.rand(batch, net.in_channels, height, width, **kwargs)
