"""Resuming: which checkpoint to go on from, and whether it can be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner, find_latest_checkpoint
from torch.optim import Optimizer

from mmblocks.errors import UserError, first_line, note, warn

# What MMEngine needs in a checkpoint to go on with the training that wrote it.
_TRAINING_STATE = ('meta', 'message_hub', 'optimizer')


def resume_latest(cfg: Config) -> None:
    """Makes a config resume from the latest checkpoint in its work folder, in place.

    Where there is none, training starts as the config says, from ``load_from`` or from scratch.

    Args:
        cfg: The config; ``work_dir`` is set.

    Raises:
        UserError: The work folder names a checkpoint that is gone.
    """
    pointer = Path(cfg.work_dir, 'last_checkpoint')
    if not pointer.exists():
        cfg.resume = False
        start = f'load_from={cfg.load_from}' if cfg.get('load_from') else 'scratch'
        note(f'no checkpoint to resume from in {cfg.work_dir}: starting from {start}')
        return
    cfg.resume, cfg.load_from = True, find_latest_checkpoint(cfg.work_dir)
    if not Path(cfg.load_from).exists():
        raise UserError(f'checkpoint not found: {cfg.load_from}, named by {pointer}')
    note(f'resuming from {cfg.load_from}, the latest in {cfg.work_dir}')


def check_training_state(checkpoint: dict[str, Any], path: str) -> None:
    """Raises for a checkpoint of weights alone.

    Args:
        checkpoint: What the checkpoint holds.
        path: Where it came from.

    Raises:
        UserError: It lacks what a training needs to go on.
    """
    lacking = [key for key in _TRAINING_STATE if key not in checkpoint]
    if lacking:
        raise UserError(
            f'{path} cannot be resumed: it holds no {", ".join(lacking)}; to start from its '
            f'weights give --cfg-options load_from={path} without --resume'
        )


def check_training_goes_on(checkpoint: dict[str, Any], path: str, runner: Runner) -> None:
    """Raises for the state of another optimizer; warns of what goes on otherwise than it began.

    Args:
        checkpoint: What the checkpoint holds, with the state of a training.
        path: Where it came from.
        runner: The runner that will resume. Its optimizer is built here, as `Runner.train` would.

    Raises:
        UserError: The optimizer's state is of another kind of optimizer or of other parameters.
    """
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if isinstance(runner.optim_wrapper, OptimWrapper):
        _check_optimizer(runner.optim_wrapper.optimizer, checkpoint['optimizer'], path)
    train_cfg = runner.cfg.train_cfg
    by_epoch = train_cfg.get('by_epoch', train_cfg.get('type') != 'IterBasedTrainLoop')
    unit = 'epoch' if by_epoch else 'iter'
    done, of = checkpoint['meta'].get(unit), train_cfg.get(f'max_{unit}s')
    if done is not None and of is not None and done >= of:
        warn(f'{path} is at {unit} {done} of {of}: nothing is left to train')
    hooks = runner.cfg.get('custom_hooks') or []
    if 'ema_state_dict' in checkpoint and not any(
        str(hook.get('type')).endswith('EMAHook') for hook in hooks
    ):
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
