"""Training and evaluating a detector of digits, where that is not done yet."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console

from mmblocks.digits.dataset import META_FILE, DigitsSettings, make_digits
from mmblocks.digits.history import bbox_scores
from mmblocks.digits.progress import ProgressHook
from mmblocks.engine import build_runner, prepare, read_checkpoint
from mmblocks.engine.launch import end_workers
from mmblocks.engine.resume import latest_checkpoint
from mmblocks.utils.errors import UserError

RECORD = 'demo.json'  # what the training in a work folder was made from
METRICS = 'metrics.json'


def prepare_data(cfg: Config, train_scenes: int, val_scenes: int, console: Console) -> Path:
    """Makes the digits set where the config looks for it, with the digits that are its classes.

    Args:
        cfg: The config of a detector of digits.
        train_scenes: Number of training scenes.
        val_scenes: Number of validation scenes.
        console: Where to print.

    Returns:
        The folder of the set.

    Raises:
        UserError: The config is not for digits, or its folder holds something else.
    """
    try:
        dataset = cfg.train_dataloader.dataset
        digits = tuple(int(name) for name in dataset.metainfo.classes)
        root = Path(dataset.data_root)
    except (AttributeError, ValueError) as error:
        raise UserError(f'{cfg.filename} is no config for digits: {error}') from error
    try:
        settings = DigitsSettings(train_scenes, val_scenes, digits)
        if not root.exists():
            console.print(
                f'Drawing {train_scenes} + {val_scenes} scenes of handwritten digits into {root}'
            )
        return make_digits(root, settings)
    except (ValueError, FileExistsError, ImportError) as error:
        raise UserError(str(error)) from error


def train(cfg: Config, work_dir: Path, data_root: Path, retrain: bool, console: Console) -> None:
    """Trains, or goes on with a training that was interrupted, or leaves a finished one.

    A training of another config or data set in the work folder is moved aside, not lost.

    Args:
        cfg: The config.
        work_dir: Folder for logs, checkpoints and pictures.
        data_root: Folder of the digits set.
        retrain: Whether to train anew in any case.
        console: Where to print.

    Raises:
        UserError: The work folder holds something else than a training of the demo.
    """
    record = dict(config=cfg.pretty_text, data=json.loads((data_root / META_FILE).read_text()))
    found = _read_json(work_dir / RECORD)
    if found is None and work_dir.exists() and any(work_dir.iterdir()):
        raise UserError(
            f'{work_dir} holds something else than a training of the demo; '
            'name another folder with --work-dir'
        )
    if found is not None and (retrain or found != record):
        aside = work_dir.with_name(f'{work_dir.name}.{time.strftime("%Y%m%d_%H%M%S")}')
        work_dir.rename(aside)
        why = '--retrain' if found == record else 'the config or the data has changed'
        console.print(f'The training that was in {work_dir} is now in {aside} ({why})')

    epochs, done = cfg.train_cfg.max_epochs, epochs_done(work_dir)
    if done >= epochs:
        console.print(f'Reusing the finished training in {work_dir}; --retrain trains anew')
        return
    work_dir.mkdir(parents=True, exist_ok=True)
    (work_dir / RECORD).write_text(json.dumps(record))
    how = f'Going on after epoch {done} with' if done else 'Training'
    console.print(
        f'{how} {cfg.model.type} with {cfg.model.backbone.type} for {epochs} epochs on '
        f'{get_device()}'
    )
    prepared = prepare(cfg, work_dir=str(work_dir), resume=latest_checkpoint(work_dir) or None)
    progress = ProgressHook(console)
    try:
        with quiet():
            runner = build_runner(prepared)
            runner.register_hook(progress)
            runner.train()
            end_workers(runner)
    finally:
        progress.bar.stop()


def epochs_done(work_dir: Path) -> int:
    """Returns the number of epochs that the latest checkpoint in a work folder has behind it.

    Args:
        work_dir: The work folder; it need not exist.

    Returns:
        The number, 0 where there is no checkpoint.

    Example:
        >>> epochs_done(Path('no_such_folder'))
        0
    """
    path = latest_checkpoint(work_dir)
    return read_checkpoint(path)['meta']['epoch'] if path else 0


def evaluate(cfg: Config, work_dir: Path, console: Console) -> dict[str, float]:
    """Evaluates the latest checkpoint on the validation scenes and keeps what it detects.

    Args:
        cfg: The config.
        work_dir: The work folder of the finished training.
        console: Where to print.

    Returns:
        The metrics; those of an earlier call are reused. Empty if nothing was detected.
    """
    kept = _read_json(work_dir / METRICS)
    if kept is not None:
        return kept
    console.print('Evaluating')
    prepared = prepare(cfg, work_dir=str(work_dir))
    prepared.load_from = latest_checkpoint(work_dir)
    prepared.test_evaluator.outfile_prefix = str(work_dir / 'detections')
    with quiet():
        runner = build_runner(prepared, 'test')
        metrics = runner.test()
        end_workers(runner)
    if bbox_scores(metrics):
        (work_dir / METRICS).write_text(json.dumps(metrics))
    return metrics


def terminal() -> Console:
    """Returns a console on standard output that `quiet` does not silence."""
    # Without the file, rich looks up sys.stdout anew for each line.
    return Console(file=sys.stdout)


def quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Keeps what MMEngine and COCO's tools print off the terminal; the log files have it."""
    return contextlib.redirect_stdout(io.StringIO())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
