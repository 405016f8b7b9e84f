"""The sizes of boxes in training, against the strides of the detector's maps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmblocks.own_data.image_size import factor_to
from mmblocks.own_data.split import Split
from mmblocks.swap.detector import find_detector, head_strides
from mmblocks.swap.inherit import value_at
from mmblocks.swap.report import measure

SMALL_SHARE = 0.1  # from which on small boxes are worth an advice


def box_sizes(split: Split, scale: tuple[int, int] | None) -> list[float]:
    """Returns the sizes of the boxes, in pixels of the images as they are trained on.

    The size is the square root of the area.

    Args:
        split: The images and annotations.
        scale: Longer and shorter side that images are fitted into; None for their own.
    """
    factors = {
        image['id']: factor_to(scale, image['width'], image['height']) if scale else 1.0
        for image in split.content['images']
    }
    return [
        math.sqrt(max(0.0, a['bbox'][2] * a['bbox'][3])) * factors[a['image_id']]
        for a in split.content['annotations']
    ]


def strides_of(cfg: Mapping[str, Any]) -> tuple[int, ...]:
    """Returns the strides of the maps that a detector looks for objects on, finest first.

    Args:
        cfg: The config.

    Returns:
        Those that its heads name, or else those of the maps that they are given.
    """
    detector = value_at(cfg['model'], find_detector(cfg['model']))
    if named := [sorted(entry.values) for entry in head_strides(detector)]:
        longest: list[int] = max(named, key=len)
        return tuple(longest)
    summary = measure(detector, cfg)
    return tuple(sorted((summary.neck_maps or summary.maps).strides))


def advice(sizes: Sequence[float], strides: Sequence[int], scale: tuple[int, int] | None) -> str:
    """Returns what to do about small boxes, empty where there are few.

    A box that is smaller than one cell of the finest map has hardly a place where it is found.

    Args:
        sizes: The sizes of the boxes.
        strides: The strides of the maps, finest first.
        scale: Longer and shorter side of the images in training; None if unknown.

    Example:
        >>> print(advice([4.0] * 20 + [50.0] * 80, (8, 16, 32), (400, 300)))
        20% of the boxes are smaller than one cell of the finest map (stride 8): train on larger \
images (--size 800), or take a detector whose maps begin at stride 4
        >>> advice([50.0] * 80, (8, 16, 32), (400, 300))
        ''
    """
    finest = strides[0]
    small = sum(size < finest for size in sizes)
    if not sizes or small <= SMALL_SHARE * len(sizes):
        return ''
    tenth = sorted(sizes)[int(SMALL_SHARE * len(sizes))]
    options = []
    if scale is not None and tenth > 0:
        side = math.ceil(scale[0] * finest / tenth / 32) * 32
        options.append(f'train on larger images (--size {side})')
    if finest > 4:
        options.append('take a detector whose maps begin at stride 4')
    return (
        f'{small / len(sizes):.0%} of the boxes are smaller than one cell of the finest map '
        f'(stride {finest}): {", or ".join(options) or "cut the images into tiles"}'
    )


def draw_sizes(
    sizes: Mapping[str, Sequence[float]], strides: Sequence[int], title: str, file: Path
) -> None:
    """Draws a histogram of the sizes of boxes, with the strides of the maps as lines.

    Args:
        sizes: The sizes by split.
        strides: The strides.
        title: Line above the plot.
        file: The picture to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(8, 4.2), dpi=110, layout='constrained')
    axes = figure.subplots()
    low, high = min(strides) / 4, max(strides) * 8.0
    every = [size for values in sizes.values() for size in values if size > 0]
    low, high = min([low, *every]), max([high, *every])
    edges = [low * (high / low) ** (i / 40) for i in range(41)]
    edges[-1] = high * 1.001
    for name, values in sizes.items():
        axes.hist(values, bins=edges, alpha=0.6, label=f'{name}: {len(values)} boxes')
    for stride in strides:
        axes.axvline(stride, color='0.3', linewidth=0.9, linestyle='--')
        axes.annotate(
            f'stride {stride}', (stride, 1), xycoords=('data', 'axes fraction'),
            xytext=(3, -4), textcoords='offset points', rotation=90, va='top', fontsize=8,
        )  # fmt: skip
    axes.axvspan(low, min(strides), color='tab:red', alpha=0.08)
    axes.set_xscale('log', base=2)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set(xlim=(low, high), ylabel='boxes', title=title)
    axes.set_xlabel('size of a box in training: square root of its area, in pixels')
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend()
    figure.savefig(file)
