"""Deformable convolutions of mmblocks against mmcv's compiled ops, on the CPU.

.venv/bin/python benchmarks/deform_conv.py prints, per shape, the time of either as the median of
runs that take turns, and ours as a share of mmcv's. `make peers` brings the compiled ops. Threads:
set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import NamedTuple

import mmblocks  # before mmcv.ops, which needs the forms that it serves

# isort: split
import mmcv.ops
import torch
from compiled import load_compiled_ops, use
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn


class Case(NamedTuple):
    """One line of the table; 3x3 kernels with stride 1."""

    name: str
    batch: int
    channels: int
    height: int
    width: int
    deform_groups: int = 1


CASES = (
    Case('ModulatedDeformConv2d', 2, 128, 40, 40),
    Case('ModulatedDeformConv2d', 1, 128, 40, 40),
    Case('ModulatedDeformConv2d', 2, 256, 20, 20, deform_groups=4),
    Case('ModulatedDeformConv2d', 1, 64, 80, 80),
    Case('ModulatedDeformConv2d', 1, 256, 50, 84),
    Case('DeformConv2d', 2, 128, 40, 40),
    Case('DeformConv2d', 1, 64, 80, 80),
)


def make_inputs(case: Case) -> list[Tensor]:
    """A map, offsets of a pixel or so, and a mask where the layer takes one."""
    size = (case.height, case.width)
    inputs = [
        torch.randn(case.batch, case.channels, *size),
        torch.randn(case.batch, case.deform_groups * 18, *size),
        torch.rand(case.batch, case.deform_groups * 9, *size),
    ]
    return [x.requires_grad_() for x in inputs[: 3 if 'Modulated' in case.name else 2]]


def run(layer: nn.Module, inputs: list[Tensor], grad: Tensor) -> tuple[float, float]:
    """Seconds of a forward without, and of a forward and backward with gradients."""
    with torch.no_grad():
        start = time.perf_counter()
        layer(*inputs)
        forward = time.perf_counter() - start
    start = time.perf_counter()
    torch.autograd.grad(layer(*inputs), [*inputs, *layer.parameters()], grad)
    return forward, time.perf_counter() - start


def compare(case: Case, rounds: int) -> list[tuple[float, float]]:
    """Median seconds of ours and mmcv's: of inference, then of a training step's two passes."""
    torch.manual_seed(0)
    settings = dict(kernel_size=3, padding=1, deform_groups=case.deform_groups, bias=False)
    layers = [
        getattr(package, case.name)(case.channels, case.channels, **settings)
        for package in (mmblocks, mmcv.ops)
    ]
    layers[0].load_state_dict(layers[1].state_dict())
    inputs = make_inputs(case)
    outputs = [layer(*inputs).detach() for layer in layers]
    torch.testing.assert_close(*outputs, rtol=0, atol=1e-4)
    times = [[run(layer, inputs, outputs[0]) for layer in layers] for _ in range(rounds)]
    return [
        tuple(statistics.median(turn[i][kind] for turn in times) for i in range(2))
        for kind in range(2)
    ]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=7, help='runs of each, in turns')
    rounds = parser.parse_args().rounds
    use(load_compiled_ops())
    table = Table(title=f'float32, 3x3, milliseconds, OMP_NUM_THREADS={torch.get_num_threads()}')
    for column in ('layer', 'batch', 'channels', 'map', 'deform_groups'):
        table.add_column(column, no_wrap=True)
    for kind in ('inference', 'training'):
        for column in ('ours', "mmcv's", 'ratio'):
            table.add_column(f'{kind}\n{column}', justify='right')
    for case in CASES:
        cells = [
            case.name,
            str(case.batch),
            str(case.channels),
            f'{case.height}x{case.width}',
            str(case.deform_groups),
        ]
        for ours, theirs in compare(case, rounds):
            cells += [f'{ours * 1e3:.1f}', f'{theirs * 1e3:.1f}', f'{ours / theirs:.2f}']
        table.add_row(*cells)
    Console(width=150).print(table)


if __name__ == '__main__':
    main()
