"""AKConv against its usual formulation: time of a training step and memory kept for it.

The usual formulation gathers the four pixels around every point, each with an index of its own
for every channel, and weighs them. Both are given the same weights; run it as
``python benchmarks/akconv.py``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mmblocks import AKConv

CHANNELS = 64
SIZE = 40


def gathered(layer: AKConv, x: Tensor) -> Tensor:
    """What ``layer`` computes, for stride 1, in the usual formulation.

    Its border is wrong, as that formulation's is: corners are moved into the map after the
    weights were taken from places that had been moved there too, so that some count twice.
    """
    batch, channels, height, width = x.shape
    points = layer.num_points
    offsets = layer.p_conv(x)
    i, per_row = torch.arange(points), round(math.sqrt(points))
    initial = torch.cat([i // per_row, i % per_row]).view(1, -1, 1, 1)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    own = torch.stack([rows, columns]).repeat_interleave(points, 0)
    place = (own + initial + offsets).permute(0, 2, 3, 1)
    limit = torch.tensor([height - 1, width - 1]).repeat_interleave(points)

    def into_map(place: Tensor) -> Tensor:
        return torch.minimum(place.clamp(min=0), limit)

    corner = place.detach().floor()
    top, left = into_map(corner).long().split(points, -1)
    bottom, right = into_map(corner + 1).long().split(points, -1)
    row, column = into_map(place).split(points, -1)

    def read(i: Tensor, j: Tensor) -> Tensor:
        index = (i * width + j).unsqueeze(1).expand(-1, channels, -1, -1, -1)
        index = index.reshape(batch, channels, -1)
        return x.view(batch, channels, -1).gather(2, index).view(batch, channels, *i.shape[1:])

    def near(low: Tensor, place: Tensor) -> Tensor:
        return 1 + low - place

    def far(high: Tensor, place: Tensor) -> Tensor:
        return 1 - high + place

    samples = (
        (near(top, row) * near(left, column)).unsqueeze(1) * read(top, left)
        + (far(bottom, row) * far(right, column)).unsqueeze(1) * read(bottom, right)
        + (near(top, row) * far(right, column)).unsqueeze(1) * read(top, right)
        + (far(bottom, row) * near(left, column)).unsqueeze(1) * read(bottom, left)
    )
    column_of_points = samples.permute(0, 1, 2, 4, 3).reshape(batch, channels, -1, width)
    return layer.conv(column_of_points)


def step(forward: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Seconds of forward and backward together."""
    start = time.perf_counter()
    forward(x).square().mean().backward()
    return time.perf_counter() - start


def saved_bytes(forward: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Memory that the graph of one forward keeps for the backward, shared storages once."""
    storages = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = forward(x)
    assert out.requires_grad
    return sum(storages.values())


def compare(num_points: int, batch: int, repeats: int) -> str:
    """Returns a line of the table: milliseconds, megabytes and ratios."""
    layer = AKConv(CHANNELS, CHANNELS, num_points=num_points)
    torch.nn.init.normal_(layer.p_conv.weight, std=0.02)
    x = torch.randn(batch, CHANNELS, SIZE, SIZE, requires_grad=True)
    forms = (layer, lambda x: gathered(layer, x))

    middle = slice(10, -10)
    ours, usual = (form(x)[..., middle, middle] for form in forms)
    torch.testing.assert_close(ours, usual, rtol=1e-4, atol=1e-4)

    memory = [saved_bytes(form, x) / 2**20 for form in forms]
    for form in forms:
        step(form, x)
    # One after the other in turn, so that whatever else the machine does hits both.
    times = [[step(form, x) * 1e3 for form in forms] for _ in range(repeats)]
    ours, usual = (statistics.median(column) for column in zip(*times, strict=True))
    return (
        f'{num_points:>6} {batch:>5} {usual:>10.1f} {ours:>10.1f} {ours / usual:>6.2f} '
        f'{memory[1]:>10.1f} {memory[0]:>10.1f} {memory[0] / memory[1]:>6.2f}'
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--points', type=int, nargs='+', default=[5, 9])
    parser.add_argument('--batch', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--repeats', type=int, default=21, help='timed steps of each form')
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(
        f'AKConv, {CHANNELS} to {CHANNELS} channels, {SIZE}x{SIZE}, float32, '
        f'{args.threads} thread(s); medians of {args.repeats} steps'
    )
    print('points batch   usual ms    ours ms  ratio   usual MiB   ours MiB  ratio')
    for num_points in args.points:
        for batch in args.batch:
            print(compare(num_points, batch, args.repeats), flush=True)


if __name__ == '__main__':
    main()
