"""Pictures of what a detector finds beside what is there."""

from __future__ import annotations

import functools
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.structures import InstanceData
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from mmdet.visualization import DetLocalVisualizer

COLUMNS = 3  # pairs of pictures in a row
SHOWN_SIDE = 400  # pixels: small scenes are enlarged so far before boxes and labels are drawn


def draw_detections(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    out_file: str | os.PathLike[str],
    count: int = 9,
    score_thr: float = 0.3,
    palette: list[tuple[int, int, int]] | None = None,
) -> Path:
    """Draw a grid of pictures, each with its ground truth beside what a detector found in it.

    Args:
        annotations: Ground truth in COCO format.
        images: Folder of the pictures.
        detections: Detections in COCO's result format, as CocoMetric writes them with
            ``outfile_prefix``.
        out_file: The picture to write.
        count: Number of pictures, taken from the beginning of the annotations.
        score_thr: Detections of a lower score are left out, and of those that overlap by half
            all but the surest.
        palette: Colour of each category, RGB 0..255; mmdet's own when left out.

    Returns:
        ``out_file`` as a path.
    """
    from matplotlib.figure import Figure

    truth = json.loads(Path(annotations).read_text())
    chosen = truth['images'][:count]
    drawn = _group(truth['annotations'])
    found = _group(json.loads(Path(detections).read_text()))
    names = {category['id']: category['name'] for category in truth['categories']}
    visualizer = _make_visualizer(tuple(names.values()), palette)

    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(5.2 * COLUMNS, 2.75 * rows), dpi=110, layout='constrained')
    cells = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    for axes in cells.ravel():
        axes.axis('off')
    for column in range(2 * COLUMNS):
        cells[0, column].set_title('found' if column % 2 else 'drawn', fontsize=11)
    for number, image in enumerate(chosen):
        small = Image.open(Path(images) / image['file_name']).convert('RGB')
        scale = max(1, SHOWN_SIDE // max(small.size))
        picture = np.asarray(small.resize((small.width * scale, small.height * scale)))
        labels = {category: index for index, category in enumerate(names)}
        pair = _draw_pair(
            visualizer,
            picture,
            _instances(drawn[image['id']], labels, scale),
            _surest(_instances(found[image['id']], labels, scale)),
            score_thr,
        )
        row, column = divmod(number, COLUMNS)
        for side, shown in enumerate(pair):
            cells[row, 2 * column + side].imshow(shown)
    figure.savefig(out_file)
    return Path(out_file)


def _group(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    by_image = defaultdict(list)
    for entry in entries:
        by_image[entry['image_id']].append(entry)
    return by_image


def _instances(entries: list[dict[str, Any]], labels: dict[int, int], scale: int) -> InstanceData:
    corners = torch.tensor([entry['bbox'] for entry in entries], dtype=torch.float32)
    corners = corners.reshape(-1, 4) * scale
    corners[:, 2:] += corners[:, :2]
    instances = InstanceData(
        bboxes=corners, labels=torch.tensor([labels[e['category_id']] for e in entries]).long()
    )
    if entries and 'score' in entries[0]:
        instances.scores = torch.tensor([entry['score'] for entry in entries])
    return instances


def _surest(found: InstanceData) -> InstanceData:
    """Leaves the surest of the detections that lie on each other.

    A detector suppresses within a class, so that its second guess for the class of an object
    would be drawn over the first.
    """
    from mmcv.ops import nms

    if not len(found):
        return found
    return found[nms(found.get('bboxes'), found.get('scores'), iou_threshold=0.5)[1]]


def _draw_pair(
    visualizer: DetLocalVisualizer,
    picture: NDArray[Any],
    drawn: InstanceData,
    found: InstanceData,
    score_thr: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    from mmdet.structures import DetDataSample

    sample = DetDataSample(gt_instances=drawn)
    if len(found):
        sample.pred_instances = found
    visualizer.add_datasample('scene', picture, sample, pred_score_thr=score_thr)
    both = visualizer.get_image()
    return both[:, : picture.shape[1]], both[:, -picture.shape[1] :]


def _make_visualizer(
    classes: tuple[str, ...], palette: list[tuple[int, int, int]] | None
) -> DetLocalVisualizer:
    visualizer = _visualizer_class()(line_width=2)
    visualizer.dataset_meta = dict(classes=classes, palette=palette)
    return visualizer


@functools.cache
def _visualizer_class() -> type[DetLocalVisualizer]:
    from mmdet.visualization import DetLocalVisualizer

    class LargeLabels(DetLocalVisualizer):
        """mmdet's visualizer with labels that can be read in small boxes, set above them."""

        def draw_texts(
            self, texts: str, positions: torch.Tensor, **kwargs: object
        ) -> DetLocalVisualizer:
            kwargs.update(font_sizes=12, vertical_alignments='bottom')
            x, y = positions.tolist()
            place = torch.tensor([x - self.line_width, max(y - self.line_width - 3, 18)])
            return super().draw_texts(texts, place, **kwargs)

    return LargeLabels
