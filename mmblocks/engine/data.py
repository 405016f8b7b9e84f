"""Whether the files that a config names can be read, and its work folder written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, DefaultScope, Registry

from mmblocks.engine.annotations import CocoUse, check_annotations, read_annotations
from mmblocks.engine.launch import is_first_process
from mmblocks.utils.errors import UserError

# What each task reads; the evaluators read annotations too.
PARTS = {
    'train': ('train_dataloader', 'val_dataloader', 'val_evaluator'),
    'test': ('test_dataloader', 'test_evaluator'),
}


def check_data(cfg: Config, task: str) -> None:
    """Raises if the data that a config names is not there or cannot be read.

    Looks for annotation files and image folders, through the wrappers of datasets, and goes once
    through the annotation files of mmdet's ``CocoDataset``. In a job of several processes the
    first one does that for all. Datasets of other kinds are left to themselves.

    Args:
        cfg: The config.
        task: ``'train'`` or ``'test'``.

    Raises:
        UserError: Names the file and where the config names it, or the annotation.
    """
    for part in PARTS[task]:
        for where, path, kind in _files(cfg.get(part), part):
            if not Path(path).exists():
                raise UserError(
                    f'{kind} not found: {path} ({where}, looked for from {Path.cwd()}){_how(path)}'
                )
    if is_first_process(cfg):
        uses = [use for part in PARTS[task] for use in _coco_uses(cfg, part)]
        for path in dict.fromkeys(use.path for use in uses):
            content = read_annotations(path)
            try:
                for use in uses:
                    if use.path == path:
                        check_annotations(content, use)
            except (AttributeError, KeyError, TypeError) as error:
                raise UserError(f'{path} is no COCO annotation file: {error!r}') from error


def check_work_dir(cfg: Config) -> None:
    """Makes the folder of logs and checkpoints, or says why it cannot be written to.

    Args:
        cfg: The config; ``work_dir`` is set.

    Raises:
        UserError: The folder cannot be made, or nothing can be written in it.
    """
    if not isinstance(cfg.work_dir, (str, os.PathLike)):
        raise UserError(f'work_dir={cfg.work_dir!r}: must be a path')
    try:
        os.makedirs(cfg.work_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=os.fspath(cfg.work_dir)):
            pass
    except OSError as error:
        raise UserError(f'work_dir={cfg.work_dir} cannot be written: {error.strerror}') from error


def datasets(part: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Goes through the datasets of a data loader's config, inside any wrappers.

    Args:
        part: The config of a data loader, a dataset, or a list of either.
        where: The key that leads to it.

    Yields:
        The key that leads to each dataset, and its config.

    Example:
        >>> loader = dict(dataset=dict(type='RepeatDataset', dataset=dict(type='CocoDataset')))
        >>> [where for where, _ in datasets(loader, 'train_dataloader')]
        ['train_dataloader.dataset.dataset']
    """
    if isinstance(part, (list, tuple)):
        for i, item in enumerate(part):
            yield from datasets(item, f'{where}[{i}]')
    if not isinstance(part, Mapping):
        return
    inner = [key for key in ('dataset', 'datasets') if part.get(key)]
    for key in inner:
        yield from datasets(part[key], f'{where}.{key}')
    if not inner:
        yield where, part


def class_of(part: Mapping[str, Any], registry: Registry, cfg: Config) -> type | None:
    """Returns the class that a part of a config names; None if no registry knows it.

    Args:
        part: The part, with a ``type``.
        registry: The root registry of its kind.
        cfg: The whole config, which says in which scope names are looked up.
    """
    kind = part.get('type')
    if isinstance(kind, str):
        with scope_of(cfg), registry.switch_scope_and_registry(part.get('_scope_')) as scoped:
            kind = scoped.get(kind)
    return kind if isinstance(kind, type) else None


def scope_of(cfg: Config) -> AbstractContextManager[None]:
    """Makes the scope in which a config looks names up the default one for a while.

    Args:
        cfg: The config.
    """
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine')


def classes_of(dataset: Mapping[str, Any], cfg: Config) -> tuple[str, ...] | None:
    """Returns the names of a dataset's classes; None if they are not known before it is built.

    Args:
        dataset: The config of the dataset.
        cfg: The whole config.

    Raises:
        UserError: The classes are one string.
    """
    kind = class_of(dataset, DATASETS, cfg)
    if kind is None:
        return None
    if issubclass(kind, BaseDataset):
        classes = kind._load_metainfo(dataset.get('metainfo')).get('classes')
    else:
        classes = (getattr(kind, 'metainfo', None) or {}).get('classes')
    if isinstance(classes, str):
        raise UserError(
            f'metainfo.classes={classes!r} of a {kind.__name__} is one string: of a single class '
            f'write ({classes!r},)'
        )
    return tuple(classes) if isinstance(classes, (list, tuple)) else None


def _coco_uses(cfg: Config, part: str) -> Iterator[CocoUse]:
    for where, dataset in datasets(cfg.get(part), part):
        kind = class_of(dataset, DATASETS, cfg) if 'ann_file' in dataset else None
        if not reads_coco(kind):
            continue
        paths = {name: path for name, path, _ in _files(dataset, '')}
        if '.ann_file' not in paths:
            continue
        # With indices given, only some of the images are read.
        folder = None if dataset.get('indices') is not None else paths.get('.data_prefix.img')
        yield CocoUse(
            paths['.ann_file'],
            where,
            classes_of(dataset, cfg),
            part.startswith('train') and _needs_boxes(dataset),
            dataset.get('filter_cfg'),
            folder,
        )


def _needs_boxes(dataset: Mapping[str, Any]) -> bool:
    """Whether a dataset is of labelled images; semi-supervised training has others too."""
    steps = [str(step.get('type')) for step in dataset.get('pipeline') or []]
    unlabelled = any(step.endswith('LoadEmptyAnnotations') for step in steps)
    return not unlabelled and not dataset.get('test_mode', False)


def reads_coco(kind: type | None) -> bool:
    """Returns whether a class of datasets reads annotations as mmdet's ``CocoDataset`` does."""
    if kind is None or not any(base.__name__ == 'CocoDataset' for base in kind.__mro__):
        return False
    from mmdet.datasets import CocoDataset

    same = ('load_data_list', 'parse_data_info', 'filter_data')
    return all(getattr(kind, name) is getattr(CocoDataset, name) for name in same)


def _how(path: str) -> str:
    return '; make it with: python tools/make_digits.py' if 'digits' in Path(path).parts else ''


def _files(part: Any, where: str) -> Iterator[tuple[str, str, str]]:
    """Every local annotation file and image folder below a part of a config."""
    for place, dataset in datasets(part, where):
        if (dataset.get('backend_args') or {}).get('backend', 'local') != 'local':
            continue
        prefix = dataset.get('data_prefix')
        folder = prefix.get('img') if isinstance(prefix, Mapping) else None
        for name, path, kind in (
            ('ann_file', dataset.get('ann_file'), 'annotation file'),
            ('data_prefix.img', folder, 'image folder'),
        ):
            if isinstance(path, str) and path and '://' not in path:
                root = dataset.get('data_root') or ''
                if '://' not in root:
                    yield f'{place}.{name}', os.fspath(Path(root, path)), kind
