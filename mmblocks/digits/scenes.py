"""Scenes of handwritten digits in random colours on textured backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_TILT = 12.0  # degrees, either way
MAX_STRETCH = 1.15  # width against height, either way
MAX_OVERLAP = 0.05  # of the smaller box
MIN_CONTRAST = 4.5  # WCAG ratio between ink and background, the bound for plain text
DARKEST_INK = 90
MARGIN = 2  # pixels between ink and the border of the picture

_INK_LEVEL = 0.4  # of a sample's darkest value: where pen meets paper
_WORK_SIZE = 96  # pixels: the side at which a sample is tilted and cut out


@dataclass(frozen=True)
class Placed:
    """A digit in a scene: which one, the sample it is drawn from, its tight box ``x, y, w, h``."""

    digit: int
    sample: int
    box: tuple[int, int, int, int]


def draw_scene(
    rng: np.random.Generator,
    images: NDArray[Any],
    samples: dict[int, NDArray[Any]],
    image_size: int,
    digit_size: tuple[int, int],
    digits_per_scene: tuple[int, int],
) -> tuple[NDArray[Any], list[Placed]]:
    """Draws one scene.

    Args:
        rng: Source of everything random; the same state gives the same scene.
        images: All handwritten samples, shape (N, 8, 8), values 0..1.
        samples: For each digit, the indices of the samples that may be drawn.
        image_size: Height and width of the scene in pixels.
        digit_size: Least and greatest longer side of a digit's ink in pixels.
        digits_per_scene: Least and greatest number of digits.

    Returns:
        The picture, uint8 of shape (image_size, image_size, 3) in RGB order, and its digits.

    Raises:
        ValueError: If the digits do not fit into the scene.
    """
    picture = _background(rng, image_size)
    count = int(rng.integers(digits_per_scene[0], digits_per_scene[1] + 1))
    classes = list(samples)
    chosen = [classes[rng.integers(len(classes))] for _ in range(count)]
    numbers = [int(rng.choice(samples[digit])) for digit in chosen]

    masks, corners = _lay_out(rng, images[numbers], image_size, digit_size)
    placed = []
    for digit, number, mask, (x, y) in zip(chosen, numbers, masks, corners, strict=True):
        height, width = mask.shape
        patch = picture[y : y + height, x : x + width]
        ink = _ink_colour(rng, patch)
        patch += mask[..., None] * (ink - patch)
        placed.append(Placed(digit, number, (x, y, width, height)))
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8), placed


def _lay_out(
    rng: np.random.Generator, images: NDArray[Any], image_size: int, digit_size: tuple[int, int]
) -> tuple[list[NDArray[Any]], list[tuple[int, int]]]:
    """Gives every sample a size and a place where it overlaps the others slightly at most."""
    for _ in range(100):
        masks: list[NDArray[Any]] = []
        boxes: list[tuple[int, int, int, int]] = []
        for image in images:
            masks.append(ink_mask(rng, image, int(rng.integers(digit_size[0], digit_size[1] + 1))))
            box = _free_place(rng, masks[-1].shape, boxes, image_size)
            if box is None:
                break
            boxes.append(box)
        else:
            return masks, [(x, y) for x, y, _, _ in boxes]
    raise ValueError(
        f'{len(images)} digits of {digit_size[0]} to {digit_size[1]} pixels do not fit into a '
        f'scene of {image_size}x{image_size}; make image_size greater, or digit_size or '
        'digits_per_scene smaller'
    )


def _free_place(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    boxes: Sequence[tuple[int, int, int, int]],
    image_size: int,
) -> tuple[int, int, int, int] | None:
    height, width = shape
    for _ in range(50):
        x = int(rng.integers(MARGIN, image_size - MARGIN - width + 1))
        y = int(rng.integers(MARGIN, image_size - MARGIN - height + 1))
        box = (x, y, width, height)
        if all(overlap(box, other) <= MAX_OVERLAP for other in boxes):
            return box
    return None


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Returns the common area of two boxes ``x, y, w, h`` as a part of the smaller one.

    Example:
        >>> overlap((0, 0, 10, 10), (5, 5, 5, 20))
        0.25
    """
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])


def ink_mask(rng: np.random.Generator, image: NDArray[Any], size: int) -> NDArray[Any]:
    """Draws one sample with a little tilt and stretch, cut out exactly around its ink.

    Args:
        rng: Source of tilt and stretch.
        image: The sample, shape (8, 8), values 0..1.
        size: Longer side of the result in pixels.

    Returns:
        Opacity of the ink, float32 of shape (h, w), ``max(h, w) == size``; ink touches all four
        borders.
    """
    tilt = np.deg2rad(rng.uniform(-MAX_TILT, MAX_TILT))
    stretch = MAX_STRETCH ** rng.uniform(-1, 1)

    # The sample, centred in twice its side of white paper, tilted and enlarged in one step.
    paper = np.pad(image / image.max(), image.shape[0] // 2)
    scale = paper.shape[0] / _WORK_SIZE
    rotation = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) * scale
    shift = paper.shape[0] / 2 - rotation @ np.full(2, _WORK_SIZE / 2)
    matrix = np.column_stack([rotation, shift]).ravel()
    tilted = Image.fromarray(paper).transform(
        (_WORK_SIZE, _WORK_SIZE), Image.Transform.AFFINE, tuple(matrix), Image.Resampling.BICUBIC
    )

    left, top, right, bottom = _bounds(np.asarray(tilted) >= _INK_LEVEL)
    width, height = (right - left) * stretch, float(bottom - top)
    longer = max(width, height)
    shape = (max(round(size * width / longer), 1), max(round(size * height / longer), 1))
    ink = tilted.resize(shape, Image.Resampling.BICUBIC, box=(left, top, right, bottom))

    # A soft step at the ink level: about one pixel of anti-aliasing at the edge of a stroke.
    softness = 3.0 * paper.shape[0] / 2 / size
    mask = np.clip((np.asarray(ink) - _INK_LEVEL) / softness + 0.6, 0, 1)
    mask[mask < 0.1] = 0
    left, top, right, bottom = _bounds(mask > 0)
    return mask[top:bottom, left:right]


def _bounds(ink: NDArray[Any]) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom of what is true, right and bottom excluded."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _background(rng: np.random.Generator, size: int) -> NDArray[Any]:
    """Draws a texture of two related colours: clouds, stripes, tiles or a gradient, with grain."""
    kind = _TEXTURES[rng.integers(len(_TEXTURES))]
    blend = kind(rng, size)[..., None]
    first, second = rng.uniform(0, DARKEST_INK, (2, 3))
    grain = rng.normal(0, rng.uniform(1, 6), (size, size, 1))
    return np.clip(first + blend * (second - first) + grain, 0, 255)


def _noise(rng: np.random.Generator, size: int, cells: int, smooth: bool = True) -> NDArray[Any]:
    grid = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
    resample = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(grid).resize((size, size), resample))


def _clouds(rng: np.random.Generator, size: int) -> NDArray[Any]:
    octaves = [_noise(rng, size, cells) / cells for cells in (4, 8, 16, 32)]
    return np.sum(octaves, axis=0) * 2.2


def _stripes(rng: np.random.Generator, size: int) -> NDArray[Any]:
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 12)
    y, x = np.mgrid[:size, :size] / size
    phase = x * np.cos(angle) + y * np.sin(angle) + 0.15 * _noise(rng, size, 4)
    return 0.5 + 0.5 * np.sin(2 * np.pi * waves * phase)


def _tiles(rng: np.random.Generator, size: int) -> NDArray[Any]:
    return _noise(rng, size, int(rng.integers(4, 17)), smooth=False)


def _gradient(rng: np.random.Generator, size: int) -> NDArray[Any]:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    return 0.5 + 0.7 * (x * np.cos(angle) + y * np.sin(angle)) + 0.3 * _noise(rng, size, 5)


_TEXTURES = (_clouds, _stripes, _tiles, _gradient)


def _ink_colour(rng: np.random.Generator, patch: NDArray[Any]) -> NDArray[Any]:
    """Draws a random colour that stands out from the lighter and the darker parts of a patch."""
    light = luminance(patch)
    dark, bright = np.percentile(light, 10), np.percentile(light, 90)
    colours = rng.uniform(0, 255, (64, 3))
    colours[-2], colours[-1] = 0, 255  # black or white, where no colour drawn will do
    contrasts = np.minimum(contrast(luminance(colours), dark), contrast(luminance(colours), bright))
    enough = np.flatnonzero(contrasts >= MIN_CONTRAST)
    return colours[enough[0] if len(enough) else contrasts.argmax()]


def luminance(colour: NDArray[Any]) -> NDArray[Any]:
    """Returns the WCAG relative luminance (0..1) of sRGB colours (..., 3) in 0..255.

    Example:
        >>> [round(float(luminance(np.array(c))), 3) for c in ([0, 0, 0], [255, 0, 0])]
        [0.0, 0.213]
    """
    part = colour / 255.0
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Returns the WCAG contrast ratio (1..21) of two luminances.

    Example:
        >>> round(float(contrast(1.0, 0.0)))
        21
    """
    return (np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05)
