"""The images and annotations of one split, train or val, in COCO's form."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, UnidentifiedImageError

from mmblocks.engine.annotations import read_annotations
from mmblocks.utils.errors import UserError

MOST_BYTES = 4 * 2**30  # of an annotation file; it is read whole
_ROTATED = range(5, 9)  # orientations in which a camera's width is the image's height
_EXIF_ORIENTATION = 0x0112
# Line breaks and control characters of any kind, and halves of characters. Names are written into a
# config, which is a program.
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]')


class Split(NamedTuple):
    """Images and their annotations.

    Attributes:
        name: ``'train'`` or ``'val'``.
        source: The file or folder that they were read from.
        folder: The folder of the images.
        content: The annotations in COCO's form. Checked are types, and that ids and names are
            unique.
        changes: What distinguishes the content from the file ``source``; empty if nothing does,
            so that training can read the file itself.
    """

    name: str
    source: Path
    folder: Path
    content: dict[str, Any]
    changes: str = ''

    @property
    def classes(self) -> tuple[str, ...]:
        """Returns the names of the categories, in the order of the file."""
        return tuple(category['name'] for category in self.content['categories'])


def read_coco(name: str, path: Path, folder: Path) -> Split:
    """Reads a COCO annotation file.

    What mmdet and pycocotools need and some programs leave out is put in: sizes of images, areas,
    ``iscrowd`` and ids of annotations.

    Args:
        name: ``'train'`` or ``'val'``.
        path: The file.
        folder: The folder of the images.

    Raises:
        UserError: The file cannot be read or is no COCO annotation file, or there is no such
            folder.
    """
    if not folder.is_dir():
        raise UserError(f'--{name}: {folder} is no folder of images')
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise UserError(f'{path} has more than {MOST_BYTES / 2**30:.0f} GiB; split it')
    content = read_annotations(str(path))
    content.setdefault('annotations', [])
    check_types(content, path)
    return Split(name, path, folder, content, _complete(content, folder))


def check_types(content: Mapping[str, Any], path: Path) -> None:
    """Raises for entries of an annotation file that are not what COCO's form has there.

    Args:
        content: What the file holds.
        path: The file, for the error.

    Raises:
        UserError: Names the first wrong entry.
    """
    wanted: dict[str, dict[str, Callable[[Any], bool]]] = {
        'images': {'id': _is_int, 'file_name': _is_inside},
        'categories': {'id': _is_int, 'name': _is_name},
        'annotations': {'image_id': _is_int, 'category_id': _is_int, 'bbox': _is_box},
    }
    for kind, fields in wanted.items():
        if not isinstance(content[kind], list):
            raise UserError(f'{path}: "{kind}" must be a list, not {_short(content[kind])}')
        for i, entry in enumerate(content[kind]):
            if not isinstance(entry, dict):
                raise UserError(f'{path}: {kind}[{i}] must be an object, not {_short(entry)}')
            for key, fits in fields.items():
                if key not in entry:
                    raise UserError(f'{path}: {kind}[{i}] has no "{key}"')
                if not fits(entry[key]):
                    raise UserError(
                        f'{path}: {kind}[{i}].{key} must be {_WHAT[fits]}, not {_short(entry[key])}'
                    )
    for kind, key, remedy in (
        ('images', 'id', 'give each image its own'),
        ('categories', 'id', 'give each class its own'),
        ('categories', 'name', 'rename or merge them'),
    ):
        counts = Counter(entry[key] for entry in content[kind])
        if twice := [value for value, count in counts.items() if count > 1]:
            raise UserError(
                f'{path}: {len(twice)} of the {kind} have the {key} of another one: '
                f'{", ".join(map(_short, twice[:5]))}; {remedy}'
            )
    if not content['images'] or not content['categories']:
        lacking = 'categories' if content['images'] else 'images'
        raise UserError(f'{path} lists no {lacking}; name the file that has annotations')


def image_size(path: Path) -> tuple[int, int]:
    """Returns width and height of an image as mmcv reads it, turned as its camera says.

    Only the header is read.

    Args:
        path: The image.

    Raises:
        OSError: It cannot be read, or is no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_EXIF_ORIENTATION) in _ROTATED
    except UnidentifiedImageError as error:
        raise OSError('no image') from error
    except OSError:
        raise
    except Exception as error:  # decoders raise what they like at a damaged header
        raise OSError(str(error)) from error
    return (height, width) if turned else (width, height)


def _complete(content: dict[str, Any], folder: Path) -> str:
    """Puts in what is left out, and returns what that was."""
    added: Counter[str] = Counter()
    for image in content['images']:
        if not all(_is_int(image.get(key)) and image[key] > 0 for key in ('width', 'height')):
            try:
                image['width'], image['height'] = image_size(folder / image['file_name'])
            except (OSError, ValueError):  # of which the check of the images will tell
                image['width'] = image['height'] = 1
            added['sizes of images'] += 1
    ids = [annotation.get('id') for annotation in content['annotations']]
    renumber = not all(map(_is_int, ids)) or len(set(ids)) < len(ids)
    for i, annotation in enumerate(content['annotations']):
        if renumber:
            annotation['id'] = i + 1
            added['ids of annotations'] += 1
        if not _is_number(annotation.get('area')):
            annotation['area'] = annotation['bbox'][2] * annotation['bbox'][3]
            added['areas'] += 1
        if annotation.get('iscrowd') not in (0, 1):
            annotation['iscrowd'] = 0
            added['iscrowd'] += 1
    return ', '.join(f'{count} {what}' for what, count in added.items())


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not _UNPRINTABLE.search(value)


def _is_name(value: Any) -> bool:
    # MMEngine would put something else in the place of braces.
    return _is_text(value) and '{{' not in value


def _is_inside(value: Any) -> bool:
    """Returns whether a text is a path that stays in the folder that it starts from."""
    if not _is_text(value):
        return False
    parts = value.replace('\\', '/').split('/')
    return parts[0] != '' and '..' not in parts and not parts[0].endswith(':')


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return isinstance(value, float)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


_WHAT: dict[Callable[[Any], bool], str] = {
    _is_int: 'an int',
    _is_name: 'a text of one line without {{',
    _is_inside: 'a path inside the folder of images',
    _is_box: 'four numbers',
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f'{text[:37]}...'
