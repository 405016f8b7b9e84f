"""The course of a training, read from the scalars that MMEngine writes, and its plot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class History:
    """The course of a training, as one line of steps whatever interruptions there were.

    Args:
        train: Records of training iterations, each with ``step`` (iterations done), ``time``
            (seconds an iteration) and the losses.
        val: Records of evaluations, each with ``step`` (epochs done) and the metrics.
    """

    train: tuple[dict[str, float], ...]
    val: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> float:
        """Time spent in training iterations, without evaluation and without lost iterations."""
        steps = [0, *(record['step'] for record in self.train)]
        return sum(
            (after - before) * record['time']
            for before, after, record in zip(steps, steps[1:], self.train, strict=False)
        )

    def losses(self) -> dict[str, list[tuple[float, float]]]:
        """Returns the points (iteration, value) of each loss, the total first."""
        names = {name for record in self.train for name in record if 'loss' in name}
        return {name: _points(self.train, name) for name in sorted(names)}

    def metrics(self) -> dict[str, list[tuple[float, float]]]:
        """Returns the points (epoch, value) of mAP and mAP50, by these names."""
        curves: dict[str, list[tuple[float, float]]] = {}
        for record in self.val:
            for name, score in bbox_scores(record).items():
                curves.setdefault(name, []).append((record['step'], score))
        return curves


def read_history(work_dir: str | os.PathLike[str]) -> History:
    """Reads the scalars of all runs in a work folder.

    A run that resumes an earlier one takes the place of what the earlier one did after the
    checkpoint; a run that starts anew takes the place of all before it.

    Args:
        work_dir: The work folder of a training by MMEngine's Runner with a local backend.

    Returns:
        The history, empty where nothing has been written.

    Example:
        >>> read_history('no_such_folder').train
        ()
    """
    train: dict[float, dict[str, float]] = {}
    val: dict[float, dict[str, float]] = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        records = list(_read_records(path))
        for merged, new in (
            (train, [record for record in records if 'loss' in record]),
            (val, [record for record in records if 'loss' not in record]),
        ):
            start = min((record['step'] for record in new), default=float('inf'))
            for step in [step for step in merged if step >= start]:
                del merged[step]
            merged.update((record['step'], record) for record in new)
    return History(*(tuple(merged[step] for step in sorted(merged)) for merged in (train, val)))


def draw_history(history: History, out_file: str | os.PathLike[str], title: str = '') -> Path:
    """Draws loss over iterations beside mAP over epochs.

    Args:
        history: What to draw.
        out_file: The picture to write.
        title: Line above the plot.

    Returns:
        ``out_file`` as a path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), dpi=110, layout='constrained')
    left, right = figure.subplots(1, 2)
    for name, points in history.losses().items():
        total = name == 'loss'
        left.plot(
            *zip(*points, strict=True), label=name, linewidth=2 if total else 1.2, zorder=3 - total
        )
    left.set(xlabel='iteration', ylabel='loss', ylim=(0, None), title='training loss')
    for name, points in history.metrics().items():
        right.plot(*zip(*points, strict=True), label=name, marker='o', markersize=4)
        right.annotate(
            f'{points[-1][1]:.3f}', points[-1], (0, 6), textcoords='offset points', ha='center'
        )
    right.set(xlabel='epoch', ylabel='average precision', ylim=(0, 1), title='validation')
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        axes.spines[['top', 'right']].set_visible(False)
    figure.suptitle(title)
    figure.savefig(out_file)
    return Path(out_file)


def bbox_scores(metrics: Mapping[str, float]) -> dict[str, float]:
    """Returns mAP and mAP50 of boxes among CocoMetric's metrics; none if nothing was detected.

    Example:
        >>> bbox_scores({'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_50': 0.7, 'coco/bbox_mAP_s': 0.1})
        {'mAP': 0.5, 'mAP50': 0.7}
    """
    wanted = (('mAP', 'bbox_mAP'), ('mAP50', 'bbox_mAP_50'))
    return {
        label: score
        for label, ending in wanted
        for name, score in metrics.items()
        if name.endswith(ending)
    }


def _read_records(path: Path) -> Iterator[dict[str, float]]:
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that was killed while it wrote
            continue
        if isinstance(record, dict) and 'step' in record:
            yield record


def _points(records: tuple[dict[str, float], ...], name: str) -> list[tuple[float, float]]:
    return [(record['step'], record[name]) for record in records if name in record]
