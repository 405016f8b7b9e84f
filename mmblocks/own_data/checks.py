"""What is wrong with images and annotations, found before anything trains."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from mmblocks.own_data.split import Split, image_size
from mmblocks.utils.hashes import sha256_of

FEW = 10  # samples with which hardly anything can be learnt
_SHOWN = 3
_SINGULAR = {'categories': 'category', 'classes': 'class'}
_PATIENCE = 5  # seconds after which a bar shows the progress


class Finding(NamedTuple):
    """Something about the data that the user should know.

    Attributes:
        text: What it is, with a count and the first names.
        remedy: What to do about it, where training cannot begin; empty where it can.
    """

    text: str
    remedy: str = ''


def check_split(split: Split, masks: bool = False) -> list[Finding]:
    """Looks for what would stop a training, and for what mmdet would leave out without a word.

    Opens the header of every image.

    Args:
        split: The images and annotations.
        masks: Whether masks are trained.

    Returns:
        The findings, in no order of weight.
    """
    return [*_check_images(split), *_check_annotations(split, masks)]


def check_classes(train: Split, val: Split) -> list[Finding]:
    """Compares the classes and images of the two splits.

    Args:
        train: What is trained on.
        val: What it is evaluated with.
    """
    findings = []
    if lacking := [name for name in train.classes if name not in val.classes]:
        findings.append(
            Finding(
                f'val has no category {_some(lacking)}, which train has',
                f'list the same categories in {val.source} as in {train.source}',
            )
        )
    elif (order := [name for name in val.classes if name in train.classes]) != list(train.classes):
        findings.append(
            Finding(
                f'val lists the categories in another order ({_some(order)}) than train',
                f'mmdet numbers classes by that order; give {val.source} the one of {train.source}',
            )
        )
    elif extra := [name for name in val.classes if name not in train.classes]:
        findings.append(Finding(f'val has {_count(extra, "categories")} that train has not'))
    counts = {split.name: _samples(split) for split in (train, val)}
    samples = counts['train']
    if few := [f'{name} ({samples[name]})' for name in train.classes if samples[name] < FEW]:
        findings.append(Finding(f'train has fewer than {FEW} objects of {_count(few, "classes")}'))
    if untested := [name for name in train.classes if not counts['val'][name]]:
        findings.append(Finding(f'val has no object of {_count(untested, "classes")}'))
    if both := _shared_images(train, val):
        findings.append(
            Finding(f'{_count(both, "images")} in train and in val; the scores will be too high')
        )
    return findings


def _check_images(split: Split) -> list[Finding]:
    missing, unreadable, other_size = [], [], []
    images = tqdm(split.content['images'], f'images of {split.name}', leave=False, delay=_PATIENCE)
    for image in images:
        path = split.folder / image['file_name']
        try:
            size = image_size(path)
        except FileNotFoundError:
            missing.append(image['file_name'])
        except OSError as error:
            unreadable.append(f'{image["file_name"]} ({error.strerror or error})')
        else:
            if size != (image['width'], image['height']):
                given = f'{image["width"]}x{image["height"]}'
                other_size.append(f'{image["file_name"]} ({size[0]}x{size[1]}, said {given})')
    all_images = len(split.content['images'])
    names = Counter(image['file_name'] for image in split.content['images'])
    findings = [
        Finding(
            f'{all_images - len(missing)} of {all_images} images found; missing: {_some(missing)}',
            f'put them into {split.folder}, or take them out of {split.source}',
        ),
        Finding(
            f'{_count(unreadable, "images")} cannot be read',
            f'replace them, or take them out of {split.source}',
        ),
        Finding(f'{_count(other_size, "images")} of another size; boxes may be misplaced'),
        Finding(f'{_count([n for n, c in names.items() if c > 1], "images")} listed twice or more'),
    ]
    kept = (missing, unreadable, other_size, len(names) < all_images)
    return [finding for finding, found in zip(findings, kept, strict=True) if found]


def _check_annotations(split: Split, masks: bool) -> list[Finding]:
    images = {image['id']: image for image in split.content['images']}
    categories = {category['id'] for category in split.content['categories']}
    annotations = split.content['annotations']
    out = f'mend them in {split.source}, or take them out'
    if not annotations:
        return [Finding('no annotations', f'name another file than {split.source}')]
    # By the first that applies; each with its remedy, or none where mmdet leaves them out.
    kinds: list[tuple[str, str, Callable[[Any], bool]]] = [
        ('of images that are not listed', out, lambda a: a['image_id'] not in images),
        ('of categories that are not listed', out, lambda a: a['category_id'] not in categories),
        ('with a box that is not finite', out, lambda a: not all(map(math.isfinite, a['bbox']))),
        ('with a negative width or height', out, lambda a: min(a['bbox'][2:]) < 0),
        ('without a usable mask', out, lambda a: masks and not _has_mask(a)),
        ('thinner than a pixel, which are left out', '', lambda a: min(a['bbox'][2:]) < 1),
        (
            'outside of their image, which are left out',
            '',
            lambda a: _inside(a, images[a['image_id']]) == 0,
        ),
        (
            'partly outside of their image',
            '',
            lambda a: _inside(a, images[a['image_id']]) < 1,
        ),
    ]
    found = defaultdict(list)
    for annotation in annotations:
        for what, _, applies in kinds:
            if applies(annotation):
                image = images.get(annotation['image_id'], {})
                found[what].append(
                    f'id {annotation["id"]} ({image.get("file_name", annotation["image_id"])})'
                )
                break
    findings = [
        Finding(f'{_count(found[what], "annotations")} {what}', remedy)
        for what, remedy, _ in kinds
        if found[what]
    ]
    empty = len(images.keys() - {annotation['image_id'] for annotation in annotations})
    if empty:
        findings.append(Finding(f'{empty} of {len(images)} images have no objects'))
    if len(found['thinner than a pixel, which are left out']) == len(annotations):
        findings.append(
            Finding('no box has a pixel', 'COCO boxes are x, y, width, height in pixels')
        )
    return findings


def _inside(annotation: dict[str, Any], image: dict[str, Any]) -> float:
    """Returns the share of a box that is in its image; a pixel beyond counts as in it."""
    x, y, w, h = annotation['bbox']
    width = max(0.0, min(x + w, image['width']) - max(x, 0))
    height = max(0.0, min(y + h, image['height']) - max(y, 0))
    if not width * height:
        return 0
    beyond = max(-x, -y, x + w - image['width'], y + h - image['height'])
    return 1 if beyond <= 1 else width * height / (w * h)


def _has_mask(annotation: dict[str, Any]) -> bool:
    mask = annotation.get('segmentation')
    if isinstance(mask, dict):
        size, counts = mask.get('size'), mask.get('counts')
        return (
            isinstance(size, list)
            and len(size) == 2
            and all(isinstance(s, int) and 0 < s < 2**16 for s in size)
            and isinstance(counts, (str, list))
        )
    return (
        isinstance(mask, list)
        and bool(mask)
        and all(
            isinstance(polygon, list)
            and len(polygon) >= 6
            and len(polygon) % 2 == 0
            and all(isinstance(v, (int, float)) and abs(v) < 2**31 for v in polygon)
            for polygon in mask
        )
    )


def _samples(split: Split) -> Counter[str]:
    names = {category['id']: category['name'] for category in split.content['categories']}
    ids = (annotation['category_id'] for annotation in split.content['annotations'])
    return Counter(names[key] for key in ids if key in names)


def _shared_images(train: Split, val: Split) -> list[str]:
    """Returns the images of val that are in train too, by their place or their content."""
    paths = {split.name: list(_existing(split)) for split in (train, val)}
    of_train = set(paths['train'])
    sizes = defaultdict(list)
    for path in paths['train']:
        sizes[path.stat().st_size].append(path)
    shared = []
    for path in paths['val']:
        alike = sizes[path.stat().st_size]
        if path in of_train or (alike and sha256_of(path) in {sha256_of(other) for other in alike}):
            shared.append(path.name)
    return shared


def _existing(split: Split) -> Iterable[Path]:
    for image in split.content['images']:
        path = (split.folder / image['file_name']).resolve()
        if path.is_file():
            yield path


def _count(names: Sequence[str], what: str) -> str:
    one = _SINGULAR.get(what, what.removesuffix('s'))
    return f'{len(names)} {one if len(names) == 1 else what} ({_some(names)})'


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
