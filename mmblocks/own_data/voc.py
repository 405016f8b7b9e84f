"""Pascal VOC folders, read into COCO's form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mmblocks.own_data.split import Split, image_size
from mmblocks.utils.errors import UserError, did_you_mean

_MOST_BYTES = 16 * 2**20  # of one XML file
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def is_voc(folder: Path) -> bool:
    """Returns whether a folder is one of Pascal VOC: with ``Annotations`` and ``JPEGImages``."""
    return (folder / 'Annotations').is_dir() and (folder / 'JPEGImages').is_dir()


def read_voc(name: str, folder: Path, listed: str | None, classes: Sequence[str] | None) -> Split:
    """Reads a Pascal VOC folder; boxes are where mmdet's ``VOCDataset`` has them.

    Args:
        name: ``'train'`` or ``'val'``.
        folder: The folder with ``Annotations``, ``JPEGImages`` and perhaps ``ImageSets/Main``.
        listed: Which list of ``ImageSets/Main`` to read, such as ``'trainval'``. None takes the
            one called as the split, or all annotations where there is none.
        classes: The names of the classes; None for those of the objects, sorted.

    Returns:
        The split; difficult objects are crowds in it, which neither train nor count.

    Raises:
        UserError: Names the file that is missing or wrong.
    """
    found = [_read(path, folder / 'JPEGImages') for path in _files(name, folder, listed)]
    names = {obj['name'] for _, objects in found for obj in objects}
    known = list(classes) if classes is not None else sorted(names)
    if unknown := sorted(names - set(known)):
        raise UserError(
            f'--{name} {folder}: there are objects of class {", ".join(map(repr, unknown[:5]))}, '
            f'but the classes are {", ".join(known)}{did_you_mean(unknown[0], known)}'
        )
    annotations: list[dict[str, Any]] = []
    for i, (_, objects) in enumerate(found, 1):
        for obj in objects:
            category = known.index(obj.pop('name')) + 1
            ids = dict(id=len(annotations) + 1, image_id=i, category_id=category)
            annotations.append(ids | obj)
    content = dict(
        images=[dict(id=i, **image) for i, (image, _) in enumerate(found, 1)],
        annotations=annotations,
        categories=[dict(id=i, name=known_name) for i, known_name in enumerate(known, 1)],
    )
    return Split(name, folder, folder / 'JPEGImages', content, 'converted from Pascal VOC')


def _files(name: str, folder: Path, listed: str | None) -> list[Path]:
    lists = folder / 'ImageSets' / 'Main'
    path = lists / f'{listed or name}.txt'
    if path.is_file():
        stems = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
        if outside := [stem for stem in stems if Path(stem).name != stem]:
            raise UserError(f'{path}: {outside[0]!r} is no name of an image without its ending')
        files = [folder / 'Annotations' / f'{stem}.xml' for stem in stems]
    elif listed is not None:
        there = ', '.join(sorted(p.stem for p in lists.glob('*.txt'))) or 'none'
        raise UserError(f'--{name} {folder} {listed}: there is no {path}; lists there: {there}')
    else:
        files = sorted((folder / 'Annotations').glob('*.xml'))
    if not files:
        raise UserError(f'--{name} {folder}: no annotations in it')
    return files


def _read(path: Path, images: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the image of an XML file, and its objects."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read: {error.strerror}') from error
    # Entities could make a small file fill the memory; annotations have none.
    if len(data) > _MOST_BYTES or b'<!' in data.replace(b'<!--', b'') or b'\0' in data:
        raise UserError(f'{path} is no annotation of Pascal VOC: too large, or it defines entities')
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise UserError(f'{path} is no XML: {error}') from error
    given = (root.findtext('filename') or '').strip()
    options = [given, *(path.stem + suffix for suffix in SUFFIXES)]
    options = [o for o in options if o and Path(o).name == o and '\0' not in o]
    file_name = next((o for o in options if (images / o).is_file()), options[0])
    try:
        width, height = image_size(images / file_name)
    except OSError:  # of which the check of the images will tell
        width, height = 1, 1
    image = dict(file_name=file_name, width=width, height=height)
    return image, [_object(obj, path) for obj in root.iter('object')]


def _object(obj: ElementTree.Element, path: Path) -> dict[str, Any]:
    name = (obj.findtext('name') or '').strip()
    edges = [obj.findtext(f'bndbox/{key}') for key in ('xmin', 'ymin', 'xmax', 'ymax')]
    try:
        # Pixels count from 1 in VOC.
        x1, y1, x2, y2 = (float(edge or 'missing') - 1 for edge in edges)
    except ValueError as error:
        raise UserError(f'{path}: object {name!r} has the box {edges}') from error
    if not name or not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise UserError(f'{path}: an object has the name {name!r} and the box {edges}')
    width, height = x2 - x1, y2 - y1
    difficult = (obj.findtext('difficult') or '0').strip() == '1'
    return dict(
        name=name, bbox=[x1, y1, width, height], area=width * height, iscrowd=int(difficult)
    )
