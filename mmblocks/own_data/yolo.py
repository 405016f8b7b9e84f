"""YOLO folders of images and text files, read into COCO's form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmblocks.own_data.split import Split, image_size
from mmblocks.own_data.voc import SUFFIXES
from mmblocks.utils.errors import UserError

_MOST_BYTES = 2**20  # of a data.yaml
_ABOVE = 3  # folders above the images in which it is looked for


def folders(folder: Path) -> tuple[Path, Path] | None:
    """Returns the folders of images and labels of a YOLO set; None if it is none.

    Accepted are a folder with ``images`` and ``labels``, and a folder of images such as
    ``set/images/train``, whose labels are then in ``set/labels/train``.

    Args:
        folder: The folder.
    """
    candidates = [(folder / 'images', folder / 'labels')]
    parts = folder.parts
    if 'images' in parts:
        last = len(parts) - 1 - parts[::-1].index('images')
        candidates.append((folder, Path(*parts[:last], 'labels', *parts[last + 1 :])))
    return next((pair for pair in candidates if all(path.is_dir() for path in pair)), None)


def read_yolo(name: str, folder: Path, classes: Sequence[str] | None) -> Split:
    """Reads a YOLO folder: per image a text file with ``class cx cy w h`` in shares of its size.

    A line with the corners of a polygon in place of the box gives its box and its mask.

    Args:
        name: ``'train'`` or ``'val'``.
        folder: A folder as `folders` takes it.
        classes: The names of the classes; None to read them from ``data.yaml``.

    Raises:
        UserError: Names the file that is missing or wrong.
    """
    pair = folders(folder)
    if pair is None:
        raise UserError(f'--{name} {folder}: there are no folders images and labels')
    images, labels = pair
    names = list(classes) if classes is not None else _names(name, folder)
    files = sorted(p for p in images.rglob('*') if p.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f'--{name} {folder}: no images in {images}')
    content: dict[str, Any] = dict(
        images=[],
        annotations=[],
        categories=[dict(id=i, name=known) for i, known in enumerate(names)],
    )
    labelled = 0
    for i, path in enumerate(files, 1):
        inside = path.relative_to(images)
        try:
            width, height = image_size(path)
        except OSError:  # of which the check of the images will tell
            width, height = 1, 1
        content['images'].append(
            dict(id=i, file_name=inside.as_posix(), width=width, height=height)
        )
        label = (labels / inside).with_suffix('.txt')
        labelled += label.is_file()
        for annotation in _read(label, len(names), width, height):
            number = len(content['annotations']) + 1
            content['annotations'].append(dict(id=number, image_id=i, **annotation))
    if not labelled:
        raise UserError(
            f'--{name} {folder}: none of the {len(files)} images has labels in {labels}'
        )
    return Split(name, folder, images, content, 'converted from YOLO')


def _names(name: str, folder: Path) -> list[str]:
    """Reads the names of the classes from the nearest data.yaml."""
    here = folder.resolve()
    places = [here, *here.parents][: _ABOVE + 1]
    path = next((p / 'data.yaml' for p in places if (p / 'data.yaml').is_file()), None)
    if path is None:
        raise UserError(
            f'--{name} {folder}: no data.yaml there or above that names the classes; name them in '
            'their order with --classes'
        )
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f'{path} has more than {_MOST_BYTES} bytes')
        names = (yaml.safe_load(path.read_text(encoding='utf-8')) or {}).get('names')
    except (OSError, ValueError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f'{path} cannot be read as YAML with "names"') from error
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise UserError(f'{path}: "names" must list the classes, not {str(names)[:40]}')
    return [str(known) for known in names]


def _read(path: Path, classes: int, width: int, height: int) -> Iterator[dict[str, Any]]:
    """Reads the annotations of one image; it has none where the file is missing."""
    if not path.is_file():
        return
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as text') from error
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        try:
            label, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise UserError(f'{path}, line {number}: {line[:60]!r} is not numbers') from error
        if not 0 <= label < classes:
            raise UserError(
                f'{path}, line {number}: class {label}, but there are {classes}, from 0 on'
            )
        polygon = len(values) >= 6 and len(values) % 2 == 0
        if not (len(values) == 4 or polygon) or not all(map(math.isfinite, values)):
            raise UserError(
                f'{path}, line {number}: must be a class and 4 finite numbers cx cy w h, or the '
                f'corners x y of a polygon; got {len(values)} numbers'
            )
        yield dict(category_id=label, iscrowd=0, **_box(values, width, height))


def _box(values: Sequence[float], width: int, height: int) -> dict[str, Any]:
    if len(values) == 4:
        cx, cy, w, h = values
        box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
        return dict(bbox=box, area=box[2] * box[3])
    xs, ys = [v * width for v in values[::2]], [v * height for v in values[1::2]]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    polygon = [v for point in zip(xs, ys, strict=True) for v in point]
    return dict(bbox=box, area=box[2] * box[3], segmentation=[polygon])
