"""Batch size, learning rate and length of the training for a data set of another size."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmblocks.own_data.edits import Edits
from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError

# A small set is gone through until so many images were seen, but not more often than that.
IMAGES_SEEN = 50_000
MOST_EPOCHS = 300
_COCO_IMAGES = 117_266  # of train2017, those with boxes
_GPUS_BATCH = 16  # 8 GPUs of 2 images, where the base does not say
_TIMES = ('begin', 'end', 'T_max', 'milestones', 'total_steps', 'step_size')
_EPOCH_HOOKS = ('switch_epoch', 'num_last_epochs')


class Training(NamedTuple):
    """How long a base trains, and how long the new config does.

    Attributes:
        key: ``'max_epochs'`` or ``'max_iters'``.
        old: Its value in the base.
        new: Its new value.
        iterations: How many iterations that makes.
        by_iterations: Factor between the iterations of the base's training on COCO and these.
    """

    key: str
    old: int
    new: int
    iterations: int
    by_iterations: float

    @property
    def factor(self) -> float:
        """Returns how much longer it is than the base's, in its own unit."""
        return self.new / self.old


def set_batch_size(edits: Edits, batch_size: int | None) -> tuple[int, list[str]]:
    """Sets the batch size and scales the learning rate with it.

    mmdet's learning rates are for the batches of all GPUs together, 8 with 2 images mostly. The
    new one is for one GPU; ``--auto-scale-lr`` scales it on to several.

    Args:
        edits: The config.
        batch_size: Images a batch; None for what the base has on one GPU.

    Returns:
        The batch size, and lines that say what was set.

    Raises:
        UserError: The batch size is below 1.
    """
    loader = edits.cfg['train_dataloader']
    if batch_size is not None and batch_size < 1:
        raise UserError(f'--batch-size {batch_size}: must be at least 1')
    given = loader.get('batch_size')
    size = batch_size or (given if isinstance(given, int) else 2)
    edits.set(('train_dataloader', 'batch_size'), size)
    scale = edits.cfg.get('auto_scale_lr') or {}
    of_base = scale.get('base_batch_size') or _GPUS_BATCH
    optimizer = (edits.cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    lr = optimizer.get('lr')
    if not isinstance(lr, (int, float)):
        return size, [f'{size} images; the base names no learning rate to scale']
    factor = size / of_base
    new = _rounded(lr * factor)
    if new != lr:
        comment = f'{lr} for batches of {of_base} in the base, scaled to {size} on one GPU.'
        edits.set(('optim_wrapper', 'optimizer', 'lr'), new, comment=comment)
    edits.set(('auto_scale_lr', 'base_batch_size'), size)
    schedulers = [copy.deepcopy(dict(s)) for s in _schedulers(edits.cfg)]
    for scheduler in schedulers:
        for key in ('eta_min', 'eta_max'):
            if isinstance(scheduler.get(key), (int, float)):
                scheduler[key] = _rounded(scheduler[key] * factor)
    if schedulers:
        edits.set(('param_scheduler',), schedulers)
    return size, [f'{size} images on one GPU: learning rate {lr} (for {of_base}) -> {new}']


def set_length(
    edits: Edits, images: int, repeats: int, batch_size: int, epochs: int | None
) -> list[str]:
    """Sets how long to train, and scales milestones, warm-up and intervals.

    Args:
        edits: The config; its batch size is set.
        images: How many images are trained on.
        repeats: How often an epoch goes through them, as mmdet's ``RepeatDataset`` makes it.
        batch_size: Images a batch.
        epochs: Epochs; None for the rule of `choose_epochs`.

    Returns:
        Lines that say what was set and why.

    Raises:
        UserError: ``epochs`` is below 1.
    """
    if epochs is not None and epochs < 1:
        raise UserError(f'--epochs {epochs}: must be at least 1')
    training = _training(edits.base, images * repeats, batch_size, epochs)
    if training is None:
        return ['as in the base, whose train_cfg names neither max_epochs nor max_iters']
    train_cfg = edits.cfg['train_cfg']
    comment = f'As long as the base, or until {IMAGES_SEEN:,} images were seen.'
    comment = comment if epochs is None else ''
    edits.set(('train_cfg', training.key), training.new, comment=comment)
    _set_intervals(edits, train_cfg, training)
    schedulers = [_scaled(scheduler, training) for scheduler in _schedulers(edits.cfg)]
    if schedulers:
        edits.set(('param_scheduler',), schedulers)
    hooks = [_scaled_hook(hook, training) for hook in edits.cfg.get('custom_hooks') or []]
    if hooks:
        edits.set(('custom_hooks',), hooks)
    unit = training.key.removeprefix('max_').replace('iters', 'iterations')
    lines = [
        f'{training.old} -> {training.new} {unit} of {images} images'
        + (f' {repeats} times' if repeats > 1 else '')
        + (f', {training.iterations} iterations' if unit == 'epochs' else '')
    ]
    if epochs is None:
        lines.append(
            f'the rule: until {IMAGES_SEEN:,} images were seen, at most {MOST_EPOCHS} epochs, but '
            'never shorter than the base; --epochs sets it'
        )
    return lines


def choose_epochs(of_base: float, images: int) -> int:
    """Returns for how many epochs to train on a data set.

    Until 50,000 images were seen, which a small set reaches after many epochs only, at most 300;
    but never for fewer epochs than the base.

    Args:
        of_base: Epochs of the base.
        images: Images an epoch.

    Example:
        >>> [choose_epochs(12, images) for images in (50, 500, 5_000, 118_000)]
        [300, 100, 12, 12]
    """
    wanted = min(math.ceil(IMAGES_SEEN / images), MOST_EPOCHS)
    return max(math.ceil(of_base), wanted)


def _training(
    cfg: Mapping[str, Any], images: int, batch_size: int, epochs: int | None
) -> Training | None:
    train_cfg = cfg.get('train_cfg') or {}
    of_base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size') or _GPUS_BATCH
    a_epoch = math.ceil(images / batch_size)
    if isinstance(old := train_cfg.get('max_epochs'), int):
        new = epochs or choose_epochs(old, images)
        iterations = new * a_epoch
        before = old * _COCO_IMAGES / of_base
        return Training('max_epochs', old, new, iterations, iterations / before)
    if isinstance(old := train_cfg.get('max_iters'), int):
        # As many epochs of COCO as the base's iterations make.
        new = (epochs or choose_epochs(old * of_base / _COCO_IMAGES, images)) * a_epoch
        return Training('max_iters', old, new, new, new / old)
    return None


def _set_intervals(edits: Edits, train_cfg: Mapping[str, Any], training: Training) -> None:
    interval = train_cfg.get('val_interval', 1)
    if isinstance(interval, int):
        edits.set(('train_cfg', 'val_interval'), _times(interval, training.factor))
    if dynamic := train_cfg.get('dynamic_intervals'):
        scaled = [(_times(start, training.factor), every) for start, every in dynamic]
        edits.set(('train_cfg', 'dynamic_intervals'), scaled)
    hook = (edits.cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if training.new != training.old and isinstance(hook.get('interval'), int):
        path = ('default_hooks', 'checkpoint')
        edits.set((*path, 'interval'), _times(hook['interval'], training.factor))
        if not hook.get('max_keep_ckpts', -1) > 0:
            edits.set((*path, 'max_keep_ckpts'), 2)
        if not hook.get('save_best'):
            edits.set((*path, 'save_best'), 'auto')


def _schedulers(cfg: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    schedulers = cfg.get('param_scheduler') or []
    return list(schedulers) if isinstance(schedulers, (list, tuple)) else [schedulers]


def _scaled(scheduler: Mapping[str, Any], training: Training) -> dict[str, Any]:
    """Returns a scheduler for the new length."""
    new = copy.deepcopy(dict(scheduler))
    by_epoch = scheduler.get('by_epoch', True)
    if not by_epoch and _is_warmup(scheduler):
        # As long as in the base, but not more than a tenth of the training.
        if isinstance(scheduler.get('end'), int):
            new['end'] = max(1, min(scheduler['end'], training.iterations // 10))
        return new
    in_its_unit = by_epoch == (training.key == 'max_epochs')
    factor = training.factor if in_its_unit else training.by_iterations
    for key in _TIMES:
        value = scheduler.get(key)
        if isinstance(value, (list, tuple)):
            new[key] = [_times(v, factor) for v in value]
        elif isinstance(value, int) and value:
            new[key] = _times(value, factor)
    return new


def _is_warmup(scheduler: Mapping[str, Any]) -> bool:
    name = class_name(scheduler)
    return scheduler.get('begin', 0) == 0 and (
        'Warmup' in name or name in ('LinearLR', 'ConstantLR', 'LinearParamScheduler')
    )


def _scaled_hook(hook: Mapping[str, Any], training: Training) -> dict[str, Any]:
    new = copy.deepcopy(dict(hook))
    for key in _EPOCH_HOOKS:
        if isinstance(hook.get(key), int) and training.key == 'max_epochs':
            new[key] = _times(hook[key], training.factor)
    return new


def _times(value: int, factor: float) -> int:
    return max(1, round(value * factor))


def _rounded(value: float) -> float:
    return float(f'{value:.4g}')
