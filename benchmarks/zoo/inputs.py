"""Random images and annotations for any model of the zoo, as its data loader would give them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.structures import ReIDDataSample
from mmdet.testing import demo_mm_inputs, demo_mm_proposals, demo_track_inputs
from mmengine.structures import PixelData

from mmblocks.utils.types import ConfigType

SIZE = 128
_LANGUAGE = ('GLIP', 'GroundingDINO')
_OF_TWO_FRAMES = ('QDTrack', 'MaskTrackRCNN', 'Mask2FormerVideo')
_TRACKERS = (*_OF_TWO_FRAMES, 'ByteTrack', 'OCSORT', 'DeepSORT', 'StrongSORT')
_CLASSIFIERS = ('BaseReID', 'ImageClassifier')


def training_inputs(model: ConfigType) -> dict[str, Any]:
    """Returns a batch of two for a step of training.

    Args:
        model: The model's config.
    """
    kind = model['type']
    if kind in _CLASSIFIERS:
        return _labelled_images(kind)
    if kind in _OF_TWO_FRAMES:
        return _videos(model, 2)
    if kind == 'SoftTeacher':
        return _branches(model)
    return _images(model, 2)


def test_inputs(model: ConfigType) -> dict[str, Any]:
    """Returns a batch for a prediction: of two images, or of one video or image where no more go.

    Args:
        model: The model's config.
    """
    kind = model['type']
    if kind in _CLASSIFIERS:
        return _labelled_images(kind)
    if kind in _TRACKERS:
        return _videos(model, 1)
    # Long lists of classes, in chunks, and guided anchors take an image at a time.
    alone = 'chunked_size' in str(model) or 'loc_filter_thr' in str(model)
    return _images(model, 1 if alone else 2)


def _images(model: ConfigType, batch_size: int) -> dict[str, Any]:
    side = _side(model)
    classes = min(_counts(model, 'num_classes'), default=80)
    texts = None
    if model['type'] in _LANGUAGE:
        words = ('one', 'two', 'three')[:classes]
        classes, texts = len(words), [' . '.join(words)] * batch_size
    data = demo_mm_inputs(
        batch_size,
        [[3, side, side]] * batch_size,
        num_items=[4] * batch_size,
        num_classes=max(classes, 2),
        with_mask='mask' in str(model),
        texts=texts,
        custom_entities=True,
    )
    for sample in data['data_samples']:
        sample.gt_instances.labels %= classes
        sample.set_metainfo(dict(homography_matrix=np.eye(3, dtype=np.float32)))
        sample.gt_sem_seg = PixelData(sem_seg=_semantic(model, side))
        if model['type'] == 'FastRCNN':  # the others would not ask their RPN
            (sample.proposals,) = demo_mm_proposals([(3, side, side)], 20)
    return data


def _semantic(model: ConfigType, side: int) -> torch.Tensor:
    """A map of classes, in the size that the pipeline of these heads gives it."""
    things, stuff = (_counts(model, f'num_{kind}_classes') for kind in ('things', 'stuff'))
    head = (model.get('roi_head') or model).get('semantic_head') or {}
    classes = max(things, default=1) + max(stuff, default=0)
    if head.get('type') in ('FusedSemanticHead', 'SCNetSemanticHead'):
        side //= 8
    return torch.randint(head.get('num_classes', classes), (1, side, side), dtype=torch.uint8)


def _videos(model: ConfigType, batch_size: int) -> dict[str, Any]:
    return demo_track_inputs(
        batch_size,
        num_frames=2,
        key_frames_inds=[0],
        image_shapes=[(3, SIZE, SIZE)] * batch_size,
        num_items=[4] * batch_size,
        num_classes=1,
        with_mask=True,
    )


def _branches(model: ConfigType) -> dict[str, Any]:
    names = ('sup', 'unsup_teacher', 'unsup_student')
    batches = {name: _images(model['detector'], 2) for name in names}
    # Of several branches a data loader gives None for the images that are not in one.
    return {
        key: {name: batch[key] for name, batch in batches.items()}
        for key in ('inputs', 'data_samples')
    }


def _labelled_images(kind: str) -> dict[str, Any]:
    """Two people, twice each."""
    if kind == 'BaseReID':
        sample_type = ReIDDataSample
    else:
        from mmpretrain.structures import DataSample as sample_type
    samples = [sample_type().set_gt_label(label) for label in (0, 0, 1, 1)]
    for sample in samples:
        sample.set_metainfo(dict(num_classes=380 if kind == 'BaseReID' else 1000))
    images = torch.randint(0, 256, (4, 3, 256, 128), dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def _side(model: ConfigType) -> int:
    """The side of the images, in pixels."""
    # SSD has layers without padding, which end with a map of one pixel.
    return max(_counts(model.get('bbox_head'), 'input_size'), default=SIZE)


def _counts(value: Any, key: str) -> Iterator[int]:
    """Returns all values of a key anywhere in a config."""
    if isinstance(value, dict):
        if isinstance(value.get(key), int):
            yield value[key]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _counts(inner, key)
