"""The digits data set: generated scenes of real handwriting, written in COCO format."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmblocks.digits.handwriting import SPLITS, Handwriting, load_handwriting, split_samples
from mmblocks.digits.scenes import MARGIN, Placed, draw_scene

GENERATOR_VERSION = 1  # raise it when the same settings begin to give other pictures
META_FILE = 'meta.json'
STALE_AFTER = 3600  # seconds: no run takes so long


@dataclass(frozen=True)
class DigitsSettings:
    """What a digits data set is made from; the same settings give the same bytes.

    Scenes depend on their number alone: a set with fewer scenes holds the first scenes of a
    greater one, and the handwritten samples of train and val never meet.

    Args:
        train_scenes: Number of training scenes.
        val_scenes: Number of validation scenes.
        digits: The digits that appear, each a class named by itself.
        image_size: Height and width of a scene in pixels.
        digit_size: Least and greatest longer side of a digit in pixels.
        digits_per_scene: Least and greatest number of digits in a scene.
        seed: Seed of everything random.

    Raises:
        ValueError: If a setting is out of range; the message names it.

    Example:
        >>> DigitsSettings(train_scenes=60, digits=(5, 6, 7, 8, 9)).class_names
        ('5', '6', '7', '8', '9')
    """

    train_scenes: int = 600
    val_scenes: int = 200
    digits: tuple[int, ...] = tuple(range(10))
    image_size: int = 160
    digit_size: tuple[int, int] = (24, 56)
    digits_per_scene: tuple[int, int] = (1, 5)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('digits', 'digit_size', 'digits_per_scene'):  # lists become tuples
            object.__setattr__(self, name, _integers(name, getattr(self, name)))
        for name, least in (
            ('train_scenes', 1),
            ('val_scenes', 1),
            ('image_size', 16),
            ('seed', 0),
        ):
            _check_integer(name, getattr(self, name), least)
        for name, least in (('digit_size', 8), ('digits_per_scene', 1)):
            value = getattr(self, name)
            if len(value) != 2 or not least <= value[0] <= value[1]:
                raise ValueError(
                    f'{name} must be two integers (least, greatest), least >= {least}, got {value}'
                )
        allowed = set(range(10))
        if not self.digits or set(self.digits) - allowed or _repeats(self.digits):
            raise ValueError(
                f'digits must be one or more different integers from 0 to 9, got {self.digits}'
            )
        if self.digit_size[1] > self.image_size - 2 * MARGIN:
            raise ValueError(
                f'digit_size must be at most image_size - {2 * MARGIN} = '
                f'{self.image_size - 2 * MARGIN}, got {self.digit_size}'
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of ``digits``."""
        return tuple(str(digit) for digit in self.digits)

    def as_meta(self) -> dict[str, Any]:
        """Returns the settings as they are written beside the data."""
        return json.loads(json.dumps(dict(generator=GENERATOR_VERSION, **asdict(self))))


def make_digits(
    root: str | os.PathLike[str], settings: DigitsSettings | None = None, overwrite: bool = False
) -> Path:
    """Makes the digits data set, or reuses it where it is there whole.

    ``root`` gets ``train/*.png``, ``val/*.png``, ``annotations/train.json``,
    ``annotations/val.json`` (COCO format) and ``meta.json`` (the settings). The set is written to
    a temporary folder beside ``root`` and renamed when it is whole. A damaged set with the same
    settings is made again.

    Args:
        root: Folder of the data set.
        settings: What to make; ``DigitsSettings()`` when left out.
        overwrite: Replace a digits set that was made with other settings.

    Returns:
        ``root`` as a path.

    Raises:
        FileExistsError: If ``root`` holds a digits set with other settings and ``overwrite`` is
            off, or anything else than a digits set.
        ImportError: If scikit-learn is not installed.
        ValueError: If the digits do not fit into the scenes.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / 'digits'
        >>> sorted(p.name for p in make_digits(folder, DigitsSettings(4, 2)).iterdir())
        ['annotations', 'meta.json', 'train', 'val']
    """
    root = Path(root)
    settings = settings or DigitsSettings()
    if _is_whole(root, settings):
        return root
    _check_replaceable(root, settings, overwrite)

    handwriting = load_handwriting()
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = f'.{root.name}-', '.partial'
    for left in root.parent.glob(f'{prefix}*{suffix}'):  # by a run that was killed
        if time.time() - left.stat().st_mtime > STALE_AFTER:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, suffix=suffix, dir=root.parent) as partial:
        made = Path(partial) / root.name
        _write(made, settings, handwriting)
        if root.exists():
            root.rename(Path(partial) / 'replaced')
        try:
            made.rename(root)
        except OSError:
            if not _is_whole(root, settings):  # else another process has made the same set
                raise
    return root


def read_meta(root: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the settings that a folder's data set was made with, None if it holds no such set."""
    try:
        meta = json.loads((Path(root) / META_FILE).read_text())
    except (OSError, ValueError):
        return None
    return meta if isinstance(meta, dict) and 'generator' in meta else None


def _is_whole(root: Path, settings: DigitsSettings) -> bool:
    if read_meta(root) != settings.as_meta():
        return False
    try:
        for split in SPLITS:
            listed = json.loads((root / 'annotations' / f'{split}.json').read_text())['images']
            if not all((root / split / image['file_name']).is_file() for image in listed):
                return False
    except (OSError, ValueError):
        return False
    return True


def _check_replaceable(root: Path, settings: DigitsSettings, overwrite: bool) -> None:
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return
    meta, wanted = read_meta(root), settings.as_meta()
    if meta is None:
        raise FileExistsError(
            f'{root} exists and is not a digits set made by mmblocks (no {META_FILE}); '
            'remove it or choose another folder'
        )
    differing = [key for key in wanted if meta.get(key) != wanted[key]]
    if differing and not overwrite:
        found = ', '.join(f'{key}={meta.get(key)} (wanted {wanted[key]})' for key in differing)
        raise FileExistsError(
            f'{root} holds a digits set made with other settings: {found}; choose another '
            'folder, or replace it with overwrite=True (tools/make_digits.py --overwrite)'
        )


def _write(root: Path, settings: DigitsSettings, handwriting: Handwriting) -> None:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    scenes = dict(train=settings.train_scenes, val=settings.val_scenes)
    with Progress(console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task('Drawing the digits scenes', total=sum(scenes.values()))
        for number, split in enumerate(SPLITS):
            samples = split_samples(handwriting.digits, settings.digits, split, settings.seed)
            (root / split).mkdir(parents=True)
            drawn = []
            for scene in range(scenes[split]):
                rng = np.random.default_rng([settings.seed, number, scene])
                picture, placed = draw_scene(
                    rng,
                    handwriting.images,
                    samples,
                    settings.image_size,
                    settings.digit_size,
                    settings.digits_per_scene,
                )
                Image.fromarray(picture).save(root / split / _file_name(scene))
                drawn.append(placed)
                progress.advance(task)
            _write_json(root / 'annotations' / f'{split}.json', _coco(drawn, settings))
    _write_json(root / META_FILE, settings.as_meta())


def _coco(scenes: list[list[Placed]], settings: DigitsSettings) -> dict[str, Any]:
    """Returns the COCO form; all ids start at 1, since COCO's own tools misread an id of 0."""
    size = settings.image_size
    images = [
        dict(id=number + 1, file_name=_file_name(number), width=size, height=size)
        for number in range(len(scenes))
    ]
    annotations: list[dict[str, Any]] = []
    for number, placed in enumerate(scenes):
        for item in placed:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number + 1,
                    category_id=item.digit + 1,
                    bbox=list(item.box),
                    area=item.box[2] * item.box[3],
                    iscrowd=0,
                    sample=item.sample,  # its index in sklearn.datasets.load_digits()
                )
            )
    categories = [
        dict(id=digit + 1, name=str(digit), supercategory='digit') for digit in settings.digits
    ]
    return dict(images=images, annotations=annotations, categories=categories)


def _file_name(scene: int) -> str:
    return f'{scene + 1:06d}.png'


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) + '\n')


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, (tuple, list, range)):
        raise ValueError(f'{name} must be a sequence of integers, got {value!r}')
    for item in value:
        _check_integer(name, item)
    return tuple(value)


def _check_integer(name: str, value: object, least: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'{name} must be made of integers, got {value!r}')
    if least is not None and value < least:
        raise ValueError(f'{name} must be at least {least}, got {value}')


def _repeats(values: tuple[int, ...]) -> bool:
    return len(set(values)) < len(values)
