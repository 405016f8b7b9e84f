"""Pictures of what a detector finds beside what is there."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmcv.ops import nms
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from PIL import Image

COLUMNS = 3  # pairs of pictures in a row
SHOWN_SIDE = 400  # pixels: small scenes are enlarged so far before boxes and labels are drawn


class LargeLabelVisualizer(DetLocalVisualizer):
    """mmdet's visualizer with labels that can be read in small boxes, set above them."""

    def draw_texts(
        self, texts: str, positions: torch.Tensor, **kwargs: Any
    ) -> LargeLabelVisualizer:
        """Draws the label of a box.

        Args:
            texts: The label.
            positions: The box's upper left corner.
            **kwargs: Further arguments of mmdet's visualizer.
        """
        kwargs.update(font_sizes=12, vertical_alignments='bottom')
        x, y = positions.tolist()
        place = torch.tensor([x - self.line_width, max(y - self.line_width - 3, 18)])
        return super().draw_texts(texts, place, **kwargs)


def draw_detections(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    out_file: str | os.PathLike[str],
    count: int = 9,
    score_thr: float = 0.3,
    palette: list[tuple[int, int, int]] | None = None,
) -> Path:
    """Draws a grid of pictures, each with its ground truth beside what a detector found in it.

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
    truth = json.loads(Path(annotations).read_text())
    chosen = truth['images'][:count]
    drawn = _by_image(truth['annotations'])
    found = _by_image(json.loads(Path(detections).read_text()))
    labels = {category['id']: index for index, category in enumerate(truth['categories'])}
    visualizer = LargeLabelVisualizer(line_width=2)
    classes = tuple(category['name'] for category in truth['categories'])
    visualizer.dataset_meta = dict(classes=classes, palette=palette)

    rows = -(-len(chosen) // COLUMNS)
    figure = Figure(figsize=(5.2 * COLUMNS, 2.75 * rows), dpi=110, layout='constrained')
    cells = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    for axes in cells.ravel():
        axes.axis('off')
    for axes, title in zip(cells[0], ('drawn', 'found') * COLUMNS, strict=True):
        axes.set_title(title, fontsize=11)
    for image, pair in zip(chosen, cells.reshape(-1, 2), strict=False):
        scene = Image.open(Path(images) / image['file_name']).convert('RGB')
        scale = max(1, SHOWN_SIDE // max(scene.size))
        picture = np.asarray(scene.resize((scene.width * scale, scene.height * scale)))
        sample = DetDataSample(gt_instances=_instances(drawn[image['id']], labels, scale))
        surest = _surest(_instances(found[image['id']], labels, scale))
        if len(surest):
            sample.pred_instances = surest
        visualizer.add_datasample('scene', picture, sample, pred_score_thr=score_thr)
        both = visualizer.get_image()
        pair[0].imshow(both[:, : picture.shape[1]])
        pair[1].imshow(both[:, -picture.shape[1] :])
    figure.savefig(out_file)
    return Path(out_file)


def _by_image(entries: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
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
    """Returns the surest of the detections that lie on each other.

    A detector suppresses within a class, so that its second guess for the class of an object
    would be drawn over the first.
    """
    if not len(found):
        return found
    _, kept = nms(found.get('bboxes'), found.get('scores'), iou_threshold=0.5)
    return found[kept]
