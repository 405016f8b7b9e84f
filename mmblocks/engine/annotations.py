"""Whether a COCO annotation file holds what a dataset of mmdet is going to read from it.

mmdet leaves out boxes, images and classes that it cannot use without a word, and stops at others
in the middle of a training. One pass over the file finds both before.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmblocks.utils.errors import UserError, did_you_mean

_SHOWN = 5  # so many names are shown


@dataclass(frozen=True)
class CocoUse:
    """How a dataset of a config reads an annotation file.

    Attributes:
        path: The file.
        where: Where the config names the dataset.
        classes: The classes of the dataset, in the order of its labels; None if unknown.
        training: Whether boxes are needed, and images without may be left out.
        filter_cfg: The dataset's ``filter_cfg``.
        folder: The folder of the images; None if they are not looked for.
    """

    path: str
    where: str
    classes: tuple[str, ...] | None = None
    training: bool = False
    filter_cfg: Mapping[str, Any] | None = None
    folder: str | None = None


def read_annotations(path: str) -> dict[str, Any]:
    """Reads a COCO annotation file.

    Args:
        path: The file.

    Returns:
        Its content.

    Raises:
        UserError: It cannot be read, is no JSON, or is no dict of lists.
    """
    try:
        content = json.loads(Path(path).read_bytes() or b'null')
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    except RecursionError as error:
        raise UserError(f'{path} is no COCO annotation file: it is nested too deeply') from error
    except ValueError as error:
        raise UserError(f'{path} is cut or is no JSON: {error}') from error
    if content is None:
        raise UserError(f'{path} is empty')
    for key in ('images', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise UserError(f'{path} is no COCO annotation file: it has no list "{key}"')
    return content


def check_annotations(content: Mapping[str, Any], use: CocoUse) -> None:
    """Raises for what a dataset cannot read from an annotation file, or would leave out.

    Args:
        content: What the file holds.
        use: How it is read.

    Raises:
        UserError: Names the file and the annotation, image or class.
    """
    if not content['images']:
        raise UserError(f'{use.path} lists no images ({use.where})')
    categories = _categories(content, use)
    annotations = content.get('annotations', [])
    if use.training and not annotations:
        raise UserError(f'{use.path} has no annotations ({use.where})')
    images = {image.get('id'): image for image in content['images']}
    for image in content['images']:
        if lacking := [k for k in ('id', 'file_name', 'width', 'height') if k not in image]:
            raise UserError(f'{use.path}: image {image.get("id")} has no {", ".join(lacking)}')
    for annotation in annotations:
        if wrong := _wrong_box(annotation):
            image = images.get(annotation.get('image_id'), {})
            raise UserError(
                f'{use.path}: annotation id={annotation.get("id")} of image '
                f'{image.get("file_name", annotation.get("image_id"))} {wrong}'
            )
    with_boxes = {a['image_id'] for a in annotations if a.get('category_id') in categories}
    options = use.filter_cfg or {}
    drop_empty, least = options.get('filter_empty_gt', False), options.get('min_size', 0)
    kept = [
        image
        for image in content['images']
        if not use.training
        or (
            min(image['width'], image['height']) >= least
            and (not drop_empty or image['id'] in with_boxes)
        )
    ]
    if not kept or (use.training and not with_boxes):
        raise UserError(
            f'nothing is left of {use.path} to train on: of its {len(images)} images '
            f'{len(with_boxes)} have boxes of the classes {_some(use.classes or ())} and '
            f'{len(kept)} pass filter_cfg={dict(options)} ({use.where})'
        )
    if use.folder is not None:
        _check_images(use, [image['file_name'] for image in kept])


def _categories(content: Mapping[str, Any], use: CocoUse) -> set[int]:
    """The ids of the categories that the dataset takes, after holding them against its classes."""
    names = {category['id']: category['name'] for category in content['categories']}
    if use.classes is None:
        return set(names)
    if lacking := [name for name in use.classes if name not in names.values()]:
        raise UserError(
            f'{use.path} has no category {_some(lacking)}, which {use.where}.metainfo.classes '
            f'names; it has {_some(names.values())}{did_you_mean(lacking[0], names.values())}'
        )
    # mmdet numbers the labels as the file lists its categories, whatever the order of the classes.
    used = {key: name for key, name in names.items() if name in use.classes}
    if len(set(used.values())) == len(used) and tuple(used.values()) != tuple(use.classes):
        raise UserError(
            f'{use.path} lists its categories in another order than {use.where}.metainfo.classes, '
            f'so that names would be mixed up; write classes={tuple(used.values())}'
        )
    return set(used)


def _wrong_box(annotation: Mapping[str, Any]) -> str:
    """What is wrong with an annotation, or an empty string."""
    if annotation.get('ignore'):
        return ''
    if lacking := [key for key in ('image_id', 'bbox', 'area') if key not in annotation]:
        return f'has no {", ".join(lacking)}'
    box = annotation['bbox']
    try:
        x, y, width, height = box
        good = math.isfinite(x + y + width + height) and width >= 0 and height >= 0
    except (OverflowError, TypeError, ValueError):
        return f'has bbox={box}: must be four numbers'
    return '' if good else f'has bbox={box}: must be finite, with a width and height of at least 0'


def _check_images(use: CocoUse, names: Sequence[str]) -> None:
    bad: dict[str, list[str]] = {'missing': [], 'empty': []}
    for name in names:
        path = os.path.join(use.folder or '', name)
        try:
            if os.stat(path).st_size == 0:
                bad['empty'].append(path)
        except OSError:
            bad['missing'].append(path)
    for what, paths in bad.items():
        if paths:
            raise UserError(
                f'{len(paths)} of the {len(names)} images of {use.path} are {what}: '
                f'{_some(paths)} ({use.where})'
            )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
