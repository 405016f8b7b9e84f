"""The datasets and evaluators of a config, turned to the own data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import DATASETS

from mmblocks.engine.data import class_of, classes_of, datasets, reads_coco
from mmblocks.own_data.edits import Edits
from mmblocks.own_data.pipelines import steps
from mmblocks.swap.detector import Keys, dotted
from mmblocks.swap.inherit import value_at
from mmblocks.swap.text import Code
from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError

# Evaluators that know the data that they are for, in whose place CocoMetric steps.
_OF_OTHER_DATA = (
    *('VOCMetric', 'LVISMetric', 'OpenImagesMetric', 'CityScapesMetric', 'CrowdHumanMetric'),
    *('DODCocoMetric', 'RefExpMetric', 'Flickr30kMetric', 'ODVGMetric'),
)
# Variables of mmdet's configs.
_PIPELINES = ('train_pipeline', 'test_pipeline', 'val_pipeline')
# What steps of pipelines read that own boxes and masks do not have.
_UNKNOWN_STEPS = ('LoadPanopticAnnotations', 'LoadProposals', 'LoadTrackAnnotations')


class Files(NamedTuple):
    """Where a dataset reads from, as it stands in the config.

    Attributes:
        ann_file: Path of the annotation file, from ``data_root`` on.
        images: Path of the folder of images, likewise.
        data_root: What both begin with.
    """

    ann_file: str
    images: str
    data_root: str


def classes_of_base(cfg: Mapping[str, Any]) -> int | None:
    """Returns how many classes the training data of a base has; None if that is not known.

    Args:
        cfg: The base's config.
    """
    config = Config(dict(cfg))
    for _, dataset in datasets(config.get('train_dataloader'), ''):
        if (classes := classes_of(dataset, config)) is not None:
            return len(classes)
    return None


def trains_masks(cfg: Mapping[str, Any]) -> bool:
    """Returns whether the training pipeline reads masks.

    Args:
        cfg: The config.

    Raises:
        UserError: It reads what boxes and masks do not give, such as panoptic maps.
    """
    pipeline = list(steps(cfg.get('train_dataloader')))
    for step in pipeline:
        if class_name(step) in _UNKNOWN_STEPS or step.get('with_seg'):
            what = class_name(step) + (' with_seg=True' if step.get('with_seg') else '')
            raise UserError(
                f'the base reads more than boxes and masks ({what}); take one that '
                'detects objects or their masks only'
            )
    return any(step.get('with_mask') for step in pipeline)


def repeats(cfg: Mapping[str, Any]) -> int:
    """Returns how often the wrappers of the training data go through it in an epoch.

    Args:
        cfg: The config.
    """
    times, part = 1, (cfg.get('train_dataloader') or {}).get('dataset')
    while isinstance(part, Mapping):
        times *= part.get('times', 1) if class_name(part) == 'RepeatDataset' else 1
        part = part.get('dataset')
    return times


def set_dataset(edits: Edits, loader: str, files: Files) -> list[str]:
    """Turns the dataset of a data loader to the own data; its pipeline and wrappers stay.

    Args:
        edits: The config; its ``metainfo`` and ``data_root`` are set.
        loader: The loader, such as ``'train_dataloader'``.
        files: Where the data is.

    Returns:
        Lines that say what was set.

    Raises:
        UserError: The loader has no dataset of labelled images.
    """
    path = _place(edits.cfg, loader)
    dataset: Mapping[str, Any] = value_at(edits.cfg, path)
    kind = class_of(dataset, DATASETS, Config(edits.cfg))
    prefix = dataset.get('data_prefix')
    plain = 'datasets' not in dataset and 'proposal_file' not in dataset
    plain &= set(dataset.get('metainfo') or ()) <= {'classes', 'palette'}
    if reads_coco(kind) and plain:
        edits.set((*path, 'data_root'), files.data_root, written=Code('data_root'))
        edits.set((*path, 'metainfo'), edits.cfg['metainfo'], written=Code('metainfo'))
        edits.set((*path, 'ann_file'), files.ann_file)
        # Of panoptic data, the folder of its maps stands there too.
        if prefix and set(prefix) != {'img'}:
            edits.set((*path, 'data_prefix'), dict(img=files.images))
        else:
            edits.set((*path, 'data_prefix', 'img'), files.images)
        if dataset.get('indices') is not None:
            edits.set((*path, 'indices'), None)
        return [f'{dotted(path)} ({class_name(dataset)}): {files.ann_file}']
    where, inner = next(iter(datasets(dataset, dotted(path))))
    own: dict[str, Any] = dict(type='CocoDataset', data_root=files.data_root)
    own |= dict(ann_file=files.ann_file, data_prefix=dict(img=files.images))
    own |= dict(metainfo=edits.cfg['metainfo'], pipeline=inner.get('pipeline') or [])
    if loader == 'train_dataloader':
        given = inner.get('filter_cfg') or {}
        known = {key: given[key] for key in ('filter_empty_gt', 'min_size') if key in given}
        own |= dict(filter_cfg=known or dict(filter_empty_gt=True, min_size=32))
    else:
        own |= dict(test_mode=True)
    alike = (key for key in _PIPELINES if edits.base.get(key) == own['pipeline'])
    pipeline = Code(f'_base_.{next(alike, f"{where}.pipeline")}')
    names = dict(data_root=Code('data_root'), metainfo=Code('metainfo'), pipeline=pipeline)
    edits.set(path, own, written=own | names)
    return [f'{dotted(path)} ({class_name(inner)} -> CocoDataset): {files.ann_file}']


def set_evaluator(edits: Edits, key: str, files: Files, masks: bool) -> list[str]:
    """Turns an evaluator, or each of several, to the own data.

    Args:
        edits: The config.
        key: ``'val_evaluator'`` or ``'test_evaluator'``.
        files: Where the data is.
        masks: Whether masks are evaluated.

    Returns:
        Lines that say what was set.
    """
    given = edits.cfg.get(key)
    ann_file = files.data_root + files.ann_file
    text = Code(f'data_root + {files.ann_file!r}') if files.data_root else ann_file
    if isinstance(given, Mapping) and 'ann_file' in given and not _of_other_data(given):
        edits.set((key, 'ann_file'), ann_file, written=text)
        return [f'{key} ({class_name(given)}): {files.ann_file}']
    several = list(given) if isinstance(given, (list, tuple)) else [given] if given else []
    kept = [dict(metric) for metric in several if not _of_other_data(metric)]
    if not any(class_name(metric) == 'CocoMetric' for metric in kept):
        metric = ['bbox', 'segm'] if masks else 'bbox'
        kept = [dict(type='CocoMetric', ann_file='', metric=metric), *kept]
    new, code = (
        [dict(m, ann_file=file) if 'ann_file' in m else m for m in kept]
        for file in (ann_file, text)
    )
    if isinstance(given, (list, tuple)):
        edits.set((key,), new, written=code)
    else:
        edits.set((key,), new[0], written=code[0])
    before = ', '.join(map(class_name, several)) or 'none'
    return [f'{key} ({before} -> {", ".join(map(class_name, new))}): {files.ann_file}']


def _of_other_data(metric: Mapping[str, Any]) -> bool:
    if class_name(metric) == 'CocoPanopticMetric':
        raise UserError('the base is evaluated on panoptic maps; take one of boxes or masks')
    return class_name(metric) in _OF_OTHER_DATA


def _place(cfg: Mapping[str, Any], loader: str) -> Keys:
    """Returns the keys to the dataset inside wrappers; several are replaced by one."""
    part: Any = cfg.get(loader)
    if not isinstance(part, Mapping) or not isinstance(part.get('dataset'), Mapping):
        raise UserError(f'the base has no {loader} with one dataset')
    if (part.get('sampler') or {}).get('source_ratio'):
        raise UserError(
            f'{loader} of the base mixes labelled and unlabelled images; take a base that trains '
            'on labelled ones'
        )
    path: Keys = (loader, 'dataset')
    while isinstance(value_at(cfg, path).get('dataset'), Mapping):
        path = (*path, 'dataset')
    return path
