"""Parameter and MAC counts against the published ones."""

import csv
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

with open(Path(__file__).parents[1] / 'data' / 'arch_reference.csv', newline='') as file:
    REFERENCE = {row['variant']: row for row in csv.DictReader(file)}


class Published(NamedTuple):
    """A net of ours that has a published count.

    Attributes:
        variant: Its row in the reference table.
        cfg: Our config.
        head: Widths of the linear layers, first input to last output, that the counted net has
            behind the backbone's last map; empty for a backbone alone.
    """

    variant: str
    cfg: dict
    head: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Names the test case."""
        return self.variant


PUBLISHED = (
    *(
        Published(
            f'mmdet ResNet({depth}) [backbone only]',
            dict(type='ResNet', depth=depth),
        )
        for depth in (18, 34, 50, 101, 152)
    ),
    *(
        Published(f'resnet{depth}', dict(type='ResNet', depth=depth), (width, 1000))
        for depth, width in ((18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048))
    ),
    Published('mmdet ResNetV1d(50) [backbone only]', dict(type='ResNetV1d', depth=50)),
    Published('timm resnet50c', dict(type='ResNetV1c', depth=50), (2048, 1000)),
    Published('timm resnet50d', dict(type='ResNetV1d', depth=50), (2048, 1000)),
    Published('timm resnet101d', dict(type='ResNetV1d', depth=101), (2048, 1000)),
    *(
        Published(
            f'mmpretrain SEResNet({depth}) [backbone only]', dict(type='SEResNet', depth=depth)
        )
        for depth in (50, 101, 152)
    ),
    *(
        Published(f'timm seresnet{depth}', dict(type='SEResNet', depth=depth), (width, 1000))
        for depth, width in ((18, 512), (34, 512), (50, 2048), (101, 2048), (152, 2048))
    ),
    *(
        Published(
            f'timm ghostnet_{round(width * 100):03d}',
            dict(type='GhostNet', width=width, out_indices=9),
            (channels, 1280, 1000),
        )
        for width, channels in ((0.5, 480), (1.0, 960), (1.3, 1248))
    ),
)


class Classifier(nn.Module):
    """A backbone's last map, pooled, under linear layers."""

    def __init__(self, net: Published) -> None:
        super().__init__()
        self.backbone = MODELS.build(dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}'))
        self.head = nn.Sequential(
            *(nn.Linear(a, b) for a, b in zip(net.head[:-1], net.head[1:], strict=True))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x)[-1].mean((2, 3)))


@pytest.mark.parametrize('net', PUBLISHED, ids=str)
def test_parameters_and_macs_are_the_published_ones(net):
    row = REFERENCE[net.variant]
    with torch.device('meta'):
        model = Classifier(net).eval()
        x = torch.empty(1, 3, int(row['input']), int(row['input']))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert sum(p.numel() for p in model.parameters()) == int(row['params'])
    assert counter.get_total_flops() == 2 * int(row['macs'])
