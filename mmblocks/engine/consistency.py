"""Whether the numbers of a config agree with each other, where a training would find out late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, FUNCTIONS, OPTIMIZERS, Registry
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.engine.data import PARTS, class_of, classes_of, datasets, scope_of
from mmblocks.engine.explain import unregistered
from mmblocks.utils.errors import UserError

# Parts whose classes are not those of the dataset's boxes: proposals, pixels, identities, words.
_OTHER_CLASSES = {
    *('backbone', 'data_preprocessor', 'init_cfg', 'language_model', 'neck', 'reid', 'rpn_head'),
    *('semantic_head', 'segm_head', 'semantic_fusion', 'train_cfg', 'test_cfg', 'teacher'),
}


def check_consistency(cfg: Config, task: str) -> None:
    """Raises where a config contradicts itself.

    Args:
        cfg: The config.
        task: ``'train'`` or ``'test'``.

    Raises:
        UserError: An interval is 0, a head has another number of classes than the dataset, or
            another number of maps than the neck gives.
    """
    _check_names(cfg)
    if task == 'train':
        _check_intervals(cfg)
    model = cfg.get('model')
    if isinstance(model, Mapping):
        _check_classes(cfg, task)
        _check_levels(model, 'model')


def check_channels(model: nn.Module) -> None:
    """Raises where a neck is made for other maps than those of its backbone.

    Args:
        model: A built detector, or what wraps one. Backbones of others do not say what they give.

    Raises:
        UserError: Names both.
    """
    for module in model.modules():
        backbone, neck = getattr(module, 'backbone', None), getattr(module, 'neck', None)
        expected = getattr(neck, 'in_channels', None)
        if not isinstance(backbone, BaseBackbone) or not isinstance(expected, (list, tuple)):
            continue
        given = list(backbone.out_channels)
        if sorted(expected) != sorted(given):  # some necks count from the coarsest map
            raise UserError(
                f'{type(neck).__name__} has in_channels={list(expected)}, but the backbone gives '
                f'{len(given)} maps with {given} channels: write in_channels={given} in the neck'
            )


def _check_names(cfg: Config) -> None:
    """Checks that there is what MMEngine looks up by itself, going on with None where it is not."""
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer')
    with scope_of(cfg), OPTIMIZERS.switch_scope_and_registry(None) as registry:
        _check_name('optim_wrapper.optimizer', optimizer, registry)
    for part in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(part)
        if isinstance(loader, Mapping):
            _check_name(f'{part}.collate_fn', loader.get('collate_fn'), FUNCTIONS)


def _check_name(where: str, part: Any, registry: Registry) -> None:
    name = part.get('type') if isinstance(part, Mapping) else None
    if isinstance(name, str) and registry.get(name) is None:
        raise UserError(f'{where}: {unregistered(name, registry)}')


def _check_intervals(cfg: Config) -> None:
    hooks = {f'default_hooks.{k}': hook for k, hook in (cfg.get('default_hooks') or {}).items()}
    hooks |= {f'custom_hooks.{i}': hook for i, hook in enumerate(cfg.get('custom_hooks') or [])}
    found = {
        f'{where}.interval': hook['interval']
        for where, hook in hooks.items()
        if isinstance(hook, Mapping) and 'interval' in hook
    }
    found['train_cfg.val_interval'] = (cfg.get('train_cfg') or {}).get('val_interval', 1)
    for where, interval in found.items():
        never = ', or -1 for never' if where == 'default_hooks.checkpoint.interval' else ''
        if interval == 0:
            raise UserError(f'{where}=0: must be 1 or more{never}')


def _check_classes(cfg: Config, task: str) -> None:
    """Holds the heads' ``num_classes`` against the classes of the first dataset of each loader."""
    # Detectors that are told the classes in words have no class for each.
    heads = [] if 'language_model' in cfg.model else list(_num_classes(cfg.model, 'model'))
    for part in PARTS[task]:
        if not part.endswith('dataloader') or not heads:
            continue
        where, dataset = next(iter(datasets(cfg.get(part), part)), (part, {}))
        kind = class_of(dataset, DATASETS, cfg)
        names = {base.__name__ for base in kind.__mro__} if kind else set()
        # Those of videos name what is never found; panoptic ones have classes without boxes too.
        if 'BaseDetDataset' not in names or 'CocoPanopticDataset' in names:
            continue
        classes = classes_of(dataset, cfg)
        for key, number in heads:
            if classes is not None and number != len(classes):
                shown = ', '.join(classes[:5]) + (', ...' if len(classes) > 5 else '')
                raise UserError(
                    f'{key}={number}, but {where} has {len(classes)} '
                    f'class{"es" if len(classes) != 1 else ""}: {shown}'
                )


def _num_classes(part: Any, where: str) -> Iterator[tuple[str, int]]:
    """Every number of classes of a head of boxes or masks, and the key that leads to it."""
    if isinstance(part, (list, tuple)):
        for i, item in enumerate(part):
            yield from _num_classes(item, f'{where}.{i}')
    if not isinstance(part, Mapping):
        return
    for key, value in part.items():
        place = f'{where}.{key}'
        if key in _OTHER_CLASSES:
            continue
        if key == 'num_classes' and where.split('.')[-1].split('_')[-1] in ('head', *'0123456789'):
            if isinstance(value, int):
                yield place, value
        else:
            yield from _num_classes(value, place)


def _check_levels(part: Any, where: str) -> None:
    """Holds a neck's ``num_outs`` against the strides of the head's anchors or points."""
    if isinstance(part, Mapping):
        neck = part.get('neck')
        given = neck.get('num_outs') if isinstance(neck, Mapping) else None
        for head in ('bbox_head', 'rpn_head') if isinstance(given, int) else ():
            for generator in ('anchor_generator', 'prior_generator'):
                strides = _strides(part.get(head), generator)
                if strides is not None and len(strides) != given:
                    raise UserError(
                        f'{where}.neck.num_outs={given}, but {where}.{head}.{generator} has '
                        f'{len(strides)} strides: {list(strides)}'
                    )
        for key, value in part.items():
            _check_levels(value, f'{where}.{key}')


def _strides(head: Any, generator: str) -> Any:
    found = head.get(generator) if isinstance(head, Mapping) else None
    strides = found.get('strides') if isinstance(found, Mapping) else None
    return strides if isinstance(strides, (list, tuple)) else None
