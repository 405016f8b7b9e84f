"""What is measured of each net."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmblocks.benchmark.measure import Run, tensors_of


class Mode(NamedTuple):
    """A way to run nets.

    Attributes:
        name: Its name on the command line.
        title: Its name in the table.
        batch: Number of images.
        size: Height and width of the images in pixels.
        training: Whether there is a backward pass.
        bf16: Whether it runs in bfloat16 by autocast.
    """

    name: str
    title: str
    batch: int
    size: int
    training: bool = False
    bf16: bool = False

    def images(self, in_channels: int, device: str) -> Tensor:
        """Draws images, (batch, in_channels, size, size)."""
        return torch.rand(self.batch, in_channels, self.size, self.size, device=device)

    def run_of(self, model: nn.Module, x: Tensor) -> Run:
        """Returns what runs a net once, in training with the gradients of its last map's mean."""
        autocast = torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16)

        def infer() -> None:
            with torch.no_grad(), autocast:
                model(x)

        def train() -> None:
            with autocast:
                *_, last = tensors_of(model(x))
            last.float().mean().backward()
            for parameter in model.parameters():
                parameter.grad = None

        return train if self.training else infer


CPU_MODES = (
    Mode('single', 'inference 1 x 320 px', 1, 320),
    Mode('batch', 'inference 8 x 224 px', 8, 224),
    Mode('training', 'training 4 x 160 px', 4, 160, training=True),
)
CUDA_MODES = (
    Mode('single', 'inference 1 x 320 px', 1, 320),
    Mode('batch', 'inference 64 x 224 px, bf16', 64, 224, bf16=True),
    Mode('training', 'training 64 x 224 px', 64, 224, training=True),
    Mode('training', 'training 64 x 224 px, bf16', 64, 224, training=True, bf16=True),
)
