"""From a config to a runner that is ready to go, or to an error that says why not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal

from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmblocks.engine.amp import check_optim_wrapper, turn_on_amp
from mmblocks.engine.consistency import check_channels, check_consistency
from mmblocks.engine.data import check_data, check_work_dir
from mmblocks.engine.explain import explain
from mmblocks.engine.hooks import add_hooks, leave_out, save_safely
from mmblocks.engine.launch import start_process_group
from mmblocks.engine.resume import (
    check_training_goes_on,
    check_training_state,
    resume_latest,
    resume_seed,
)
from mmblocks.hooks import StopOnDivergenceHook
from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError, warn
from mmblocks.weights.files import extract_state_dict, guard_loaders, read_checkpoint
from mmblocks.weights.filling import load_weights

Task = Literal['train', 'test']
_PARTS = {
    'train': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'test': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}


def prepare(
    cfg: Config,
    *,
    work_dir: str | None = None,
    launcher: str = 'none',
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
) -> Config:
    """Puts into a config what the command line of ``tools/train.py`` says.

    Args:
        cfg: The config; it is not changed.
        work_dir: Folder for logs and checkpoints. By default the config's own, else
            ``./work_dirs/<name of the config>``.
        launcher: How the processes were started: ``'none'``, ``'pytorch'``, ``'slurm'`` or
            ``'mpi'``.
        amp: Whether to train in mixed precision.
        auto_scale_lr: Whether to scale the learning rate by the batch size.
        resume: Checkpoint to go on from, or ``'auto'`` for the latest in ``work_dir``.

    Returns:
        The changed config.

    Raises:
        UserError: An argument does not go with the config, or the checkpoint cannot be read.
    """
    cfg = copy.deepcopy(cfg)
    cfg.launcher = launcher
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs', Path(cfg.filename or 'config').stem))
    if amp:
        turn_on_amp(cfg)
    if auto_scale_lr:
        _turn_on_auto_scale_lr(cfg)
    if resume == 'auto':
        resume_latest(cfg)
    elif resume is not None:
        cfg.resume, cfg.load_from = True, resume
    return cfg


def build_runner(cfg: Config, task: Task = 'train', keep_going: bool = False) -> Runner:
    """Builds the runner of a prepared config after checking all that can be checked before.

    Starts the process group that ``cfg.launcher`` asks for; end it with
    `end_process_group`.

    Args:
        cfg: The config, as `prepare` gives it; it is not changed.
        task: What the runner is for. ``'test'`` wants ``cfg.load_from`` to fill the whole model.
            ``cfg.allow_nonfinite=True`` lets NaN and infinity in it pass with a warning.
        keep_going: Whether training goes on when its loss is not finite any more.

    Returns:
        The runner. Checkpoints that it reads cannot run code, and training has the hooks
        `CheckPreprocessingHook`, `EpochSeedHook`, `SafeCheckpointHook` and `StopOnDivergenceHook`.

    Raises:
        UserError: A part of the config, a data file or a checkpoint is missing, the checkpoint
            cannot be read, or it does not fit the model.

    Example:
        >>> from mmblocks.engine import build_runner, load_config, prepare
        >>> cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
        >>> cfg = prepare(cfg, work_dir='work_dirs/try', amp=True)
        >>> build_runner(cfg).train()  # doctest: +SKIP
    """
    cfg = copy.deepcopy(cfg)
    lacking = [part for part in _PARTS[task] if cfg.get(part) is None]
    if lacking:
        raise UserError(f'the config has no {", ".join(lacking)}, so there is nothing to {task}')
    if task == 'train':
        check_optim_wrapper(cfg)
        save_safely(cfg)
        if keep_going:
            leave_out(cfg, StopOnDivergenceHook)
    check_consistency(cfg, task)
    check_data(cfg, task)
    check_work_dir(cfg)
    guard_loaders()
    if cfg.get('resume') and cfg.get('load_from') is None:
        resume_latest(cfg)
    path = '' if cfg.get('load_from') is None else cfg.load_from
    if not isinstance(path, str):
        raise UserError(
            f'load_from must be the path or address of a checkpoint, not {path!r}; on a command '
            'line, one with commas or of digits alone stands in quotes within the value'
        )
    checkpoint = read_checkpoint(path) if path else {}
    resume = task == 'train' and cfg.get('resume', False)
    if resume:
        check_training_state(checkpoint, path)
        resume_seed(cfg, checkpoint, path)
    start_process_group(cfg)
    try:
        runner = (
            RUNNERS.build(cfg)  # type: ignore[arg-type]  # it takes a Config as well
            if 'runner_type' in cfg
            else Runner.from_cfg(cfg)
        )
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        raise UserError(line) from error
    check_channels(runner.model)
    if checkpoint:
        _check_fit(runner, checkpoint, path, in_full=resume or task == 'test', alone=resume)
    if resume:
        check_training_goes_on(checkpoint, path, runner)
    if task == 'train':
        add_hooks(runner, keep_going)
    return runner


def _turn_on_auto_scale_lr(cfg: Config) -> None:
    scale = cfg.get('auto_scale_lr') or {}
    for key in ('enable', 'base_batch_size'):
        if key not in scale:
            raise UserError(f'--auto-scale-lr needs auto_scale_lr.{key} in the config')
    cfg.auto_scale_lr.enable = True
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        if class_name(scheduler) == 'OneCycleLR':
            warn('--auto-scale-lr does not reach OneCycleLR, whose eta_max sets the rate')


def _check_fit(
    runner: Runner, checkpoint: dict[str, Any], path: str, in_full: bool, alone: bool
) -> None:
    """Loads the checkpoint into the model once ahead of the runner, and looks at what matched.

    ``in_full`` wants every tensor of the model filled, ``alone`` none left over.
    """
    allow_nonfinite = runner.cfg.get('allow_nonfinite', False)
    state_dict = extract_state_dict(checkpoint, path)
    try:
        report = load_weights(runner.model, state_dict, path, allow_nonfinite)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    counts = report.in_one_line
    if not report.matched or (in_full and not report.is_full) or (alone and report.unexpected):
        raise UserError(f'{path} does not fit {runner.model_name}: {counts}')
    if not report.is_full:
        warn(f'{path} fits {runner.model_name} in part: {counts}')
    elif report.unexpected:
        warn(f'{path} holds more than {runner.model_name} takes: {counts}')
