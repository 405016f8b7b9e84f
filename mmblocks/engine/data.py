"""Whether the files that a config reads are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmblocks.errors import UserError

# What each task reads; the evaluators read annotations too.
_PARTS = {
    'train': ('train_dataloader', 'val_dataloader', 'val_evaluator'),
    'test': ('test_dataloader', 'test_evaluator'),
}


def check_data(cfg: Config, task: str) -> None:
    """Raises if an annotation file or an image folder that a config names is not there.

    Args:
        cfg: The config.
        task: ``'train'`` or ``'test'``.

    Raises:
        UserError: Names the file and where the config names it.
    """
    for part in _PARTS[task]:
        for where, path, kind in _files(cfg.get(part), part):
            if not Path(path).exists():
                raise UserError(
                    f'{kind} not found: {path} ({where}, looked for from {Path.cwd()}){_how(path)}'
                )


def _how(path: str) -> str:
    return '; make it with: python tools/make_digits.py' if 'digits' in Path(path).parts else ''


def _files(part: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Every local annotation file and image folder below a part of a config."""
    if isinstance(part, (list, tuple)):
        for i, item in enumerate(part):
            yield from _files(item, f'{where}[{i}]')
    if not isinstance(part, dict):
        return
    for key in ('dataset', 'datasets'):
        yield from _files(part.get(key), f'{where}.{key}')
    if (part.get('backend_args') or {}).get('backend', 'local') != 'local':
        return
    prefix = part.get('data_prefix')
    folder = prefix.get('img') if isinstance(prefix, dict) else None
    for name, path, kind in (
        ('ann_file', part.get('ann_file'), 'annotation file'),
        ('data_prefix.img', folder, 'image folder'),
    ):
        if isinstance(path, str) and path and '://' not in path:
            root = part.get('data_root') or ''
            if '://' not in root:
                yield f'{where}.{name}', str(Path(root, path)), kind
