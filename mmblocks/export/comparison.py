"""How far the detections of an exported file are from those of mmdet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# NMS may decide otherwise about a pair whose overlap is at its threshold but for the last digit.
_MISSING = 0.01


@dataclass(frozen=True)
class Detections:
    """What was found on an image.

    Attributes:
        boxes: Corners (x1, y1, x2, y2) in pixels, (K, 4).
        scores: Scores, (K,).
        labels: Labels, (K,).
    """

    boxes: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Differences:
    """The largest differences of detections that belong together.

    Attributes:
        boxes: Of a corner, in pixels.
        scores: Of a score.
        compared: How many detections were compared.
        missing: How many of one side the other does not have.
    """

    boxes: float = 0.0
    scores: float = 0.0
    compared: int = 0
    missing: int = 0

    def __add__(self, other: Differences) -> Differences:
        """Returns those of both."""
        return Differences(
            max(self.boxes, other.boxes),
            max(self.scores, other.scores),
            self.compared + other.compared,
            self.missing + other.missing,
        )

    def exceed(self, boxes: float, scores: float) -> bool:
        """Returns whether they are above what floating-point numbers explain.

        Args:
            boxes: Tolerance in pixels.
            scores: Tolerance of scores.
        """
        missing = self.missing > _MISSING * (self.compared + self.missing)
        return self.boxes > boxes or self.scores > scores or missing

    def __str__(self) -> str:
        """Says them in one line."""
        return (
            f'{self.compared} detections compared, {self.missing} without a partner; largest '
            f'difference of a box {self.boxes:.2g} pixels, of a score {self.scores:.2g}'
        )


def compare(
    wanted: Detections, found: Detections, max_per_img: int, score_thr: float, near: float = 1.0
) -> Differences:
    """Compares two lists of detections of an image.

    Each detection has the nearest of the same label as its partner. One that is at the threshold,
    or at the end of a full list, may be without.

    Args:
        wanted: Those of mmdet, best score first.
        found: Those of the file, best score first.
        max_per_img: How long a list can be.
        score_thr: The least score of a detection.
        near: How many pixels partners may be apart.

    Example:
        >>> boxes = np.array([[0, 0, 8, 8], [4, 4, 9, 9]], np.float32)
        >>> one = Detections(boxes, np.array([0.9, 0.5], np.float32), np.array([1, 2]))
        >>> two = Detections(boxes[1:] + 0.25, np.array([0.5], np.float32), np.array([2]))
        >>> print(compare(one, two, 100, 0.05))
        1 detections compared, 1 without a partner; largest difference of a box 0.25 pixels, of a
        score 0
    """
    pairs: list[tuple[int, int]] = []
    free = np.ones(len(found), bool)
    for i in range(len(wanted)):
        apart = np.abs(found.boxes - wanted.boxes[i]).max(axis=1, initial=0.0)
        apart /= _unit(wanted.boxes[i])
        apart += np.abs(found.scores - wanted.scores[i])
        apart[(found.labels != wanted.labels[i]) | ~free] = np.inf
        if len(found) and apart.min() <= near:
            pairs.append((i, int(apart.argmin())))
            free[apart.argmin()] = False
    alone = np.ones(len(wanted), bool)
    alone[[i for i, _ in pairs]] = False
    missing = _not_at_end(wanted.scores[alone], found, max_per_img, score_thr)
    missing += _not_at_end(found.scores[free], wanted, max_per_img, score_thr)
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    boxes = np.abs(wanted.boxes[first] - found.boxes[second]) / _unit(wanted.boxes[first])
    scores = np.abs(wanted.scores[first] - found.scores[second])
    largest = (float(boxes.max(initial=0.0)), float(scores.max(initial=0.0)))
    return Differences(*largest, len(pairs), missing)


def _unit(boxes: Floats) -> Floats:
    """A pixel, or a thousandth of a coordinate far outside of the image, (..., 1)."""
    return np.maximum(1.0, np.abs(boxes).max(axis=-1, keepdims=True, initial=0.0) / 1000)


def _not_at_end(scores: Floats, others: Detections, max_per_img: int, score_thr: float) -> int:
    end = others.scores.min() if len(others) >= max_per_img else score_thr
    return int((scores > end + 1e-3).sum())


def total(differences: Sequence[Differences]) -> Differences:
    """Returns the differences over several images.

    Args:
        differences: Those of each image.
    """
    return sum(differences, Differences())
