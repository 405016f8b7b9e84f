"""Resuming: which checkpoint to go on from, and whether it can be."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.optim import Optimizer

from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError, first_line, note, warn
from mmblocks.utils.types import ConfigType
from mmblocks.weights.files import read_checkpoint

# What MMEngine needs in a checkpoint to go on with the training that wrote it.
_TRAINING_STATE = {
    'meta.epoch': int,
    'meta.iter': int,
    'state_dict': Mapping,
    'message_hub.log_scalars': Mapping,
    'message_hub.runtime_info': Mapping,
    'message_hub.resumed_keys': Mapping,
    'optimizer': Mapping,
}


def resume_latest(cfg: Config) -> None:
    """Makes a config resume from the latest checkpoint in its work folder, in place.

    Where there is none, training starts as the config says, from ``load_from`` or from scratch.

    Args:
        cfg: The config; ``work_dir`` is set.

    Raises:
        UserError: A checkpoint was saved, but there is none that can be resumed.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    path = latest_checkpoint(cfg.work_dir, hook.get('out_dir'))
    if path:
        cfg.resume, cfg.load_from = True, path
        note(f'resuming from {path}, the latest in {cfg.work_dir}')
        return
    cfg.resume = False
    start = f'load_from={cfg.load_from}' if cfg.get('load_from') else 'scratch'
    note(f'no checkpoint to resume from in {cfg.work_dir}: starting from {start}')


def latest_checkpoint(work_dir: str | Path, out_dir: str | None = None) -> str:
    """Finds the latest checkpoint of a training, and warns where it is not the one it should be.

    Args:
        work_dir: The work folder; it need not exist.
        out_dir: The checkpoint hook's ``out_dir``.

    Returns:
        The path that ``last_checkpoint`` in the folder names, or where that cannot be resumed, the
        newest one that can; empty if nothing was saved.

    Raises:
        UserError: ``last_checkpoint`` names what cannot be resumed, and there is nothing else.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    named = pointer.read_text().strip() if pointer.is_file() else ''
    # Where the work folder was moved, what it names is beside it.
    places = [named, str(Path(work_dir, Path(named).name))] if named else []
    reasons = []
    for path in places:
        reason = _why_not_resumable(path)
        if not reason:
            return path
        reasons.append(reason)
    folders = [Path(work_dir)]
    if out_dir:  # MMEngine makes a folder of the same name in it
        folders.append(Path(out_dir, folders[0].name))
    files = [file for folder in folders for file in folder.glob('*.pth')]
    wrong = f'{reasons[0]}, named by {pointer}' if reasons else f'{pointer} names no checkpoint'
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        if not _why_not_resumable(str(file)):
            warn(f'{wrong}: taking {file}, the newest beside it that is whole')
            return str(file)
    if reasons:
        raise UserError(wrong)
    return ''


def _why_not_resumable(path: str) -> str:
    """What keeps a file from being resumed, or nothing."""
    try:
        check_training_state(read_checkpoint(path), path)
    except UserError as error:
        return str(error)
    return ''


def check_training_state(checkpoint: dict[str, Any], path: str) -> None:
    """Raises for a checkpoint of weights alone.

    Args:
        checkpoint: What the checkpoint holds.
        path: Where it came from.

    Raises:
        UserError: It lacks what a training needs to go on.
    """
    lacking = []
    for name, kind in _TRAINING_STATE.items():
        first, _, second = name.partition('.')
        value = checkpoint.get(first)
        if second and isinstance(value, Mapping):
            value, first = value.get(second), name
        if not isinstance(value, kind) and first not in lacking:
            lacking.append(first)
    if lacking:
        raise UserError(
            f'{path} cannot be resumed: it holds no {", ".join(lacking)}; to start from its '
            f'weights give --cfg-options load_from={path} without --resume'
        )


def resume_seed(cfg: Config, checkpoint: dict[str, Any], path: str) -> None:
    """Makes a config go on with the seed that the checkpoint's training had, in place.

    Args:
        cfg: The config; it resumes from the checkpoint.
        checkpoint: What the checkpoint holds.
        path: Where it came from.
    """
    seed = checkpoint['meta'].get('seed')
    randomness = cfg.get('randomness') or {}
    if not isinstance(seed, int) or randomness.get('seed') == seed:
        return
    if randomness.get('seed') is not None:
        warn(
            f'randomness.seed={randomness["seed"]} is not taken: {path} goes on with its own seed, '
            f'{seed}'
        )
    cfg.randomness = {**randomness, 'seed': seed}


def check_training_goes_on(checkpoint: dict[str, Any], path: str, runner: Runner) -> None:
    """Raises for the state of another optimizer; warns of what goes on otherwise than it began.

    Args:
        checkpoint: What the checkpoint holds, with the state of a training.
        path: Where it came from.
        runner: The runner that will resume. Its optimizer is built here, as `Runner.train` would.

    Raises:
        UserError: The optimizer's state is of another kind of optimizer or of other parameters.
    """
    runner.optim_wrapper = runner.build_optim_wrapper(cast(ConfigType, runner.optim_wrapper))
    if isinstance(runner.optim_wrapper, OptimWrapper):
        _check_optimizer(runner.optim_wrapper.optimizer, checkpoint['optimizer'], path)
    train_cfg = runner.cfg.train_cfg
    by_epoch = train_cfg.get('by_epoch', class_name(train_cfg) != 'IterBasedTrainLoop')
    unit = 'epoch' if by_epoch else 'iter'
    done, of = checkpoint['meta'].get(unit), train_cfg.get(f'max_{unit}s')
    if done is not None and of is not None and done >= of:
        warn(f'{path} is at {unit} {done} of {of}: nothing is left to train')
    averages = any(type(hook).__name__.endswith('EMAHook') for hook in runner.hooks)
    if 'ema_state_dict' in checkpoint and not averages:
        warn(
            f'{path} holds averaged weights (EMA), but the config has no EMAHook: the training '
            'goes on from the averages'
        )


def _check_optimizer(optimizer: Optimizer, state_dict: dict[str, Any], path: str) -> None:
    """Raises if the state is that of another optimizer; the optimizer itself stays as it is."""
    probe = copy.copy(optimizer)
    try:
        probe.load_state_dict({'state': {}, 'param_groups': state_dict.get('param_groups', [])})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f'{path} cannot be resumed: {first_line(error)}') from error
    # torch fills in what older versions did not save, so that what is missing now is another's.
    needed = {key for group in optimizer.param_groups for key in group}
    lacking = needed - {key for group in probe.param_groups for key in group}
    if lacking:
        raise UserError(
            f'{path} cannot be resumed: its optimizer was no {type(optimizer).__name__}, which '
            f'has {", ".join(sorted(lacking))}'
        )
