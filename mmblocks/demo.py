"""The demo: data, training, evaluation, pictures and a summary, from one command."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config
from mmengine.device import get_device
from rich.console import Console

from mmblocks.datasets import DigitsSettings, make_digits
from mmblocks.datasets.digits import META_FILE
from mmblocks.engine import (
    UserError,
    build_runner,
    command,
    load_config,
    prepare,
    read_checkpoint,
)
from mmblocks.engine.launch import end_workers
from mmblocks.engine.resume import latest_checkpoint
from mmblocks.utils.errors import tool_parser
from mmblocks.utils.key_values import KeyValues
from mmblocks.visualization import (
    ProgressHook,
    bbox_scores,
    draw_detections,
    draw_history,
    read_history,
)

CONFIG = 'mmblocks::digits/retinanet_ghostnet_fpn_digits.py'
RECORD = 'demo.json'  # what the training in a work folder was made from
METRICS = 'metrics.json'


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        'Train a small detector on generated scenes of digits and show what it finds. '
        'Run again, it reuses what is there and goes on with what was interrupted.'
    )
    parser.add_argument('--config', default=CONFIG, help='config of a detector of digits')
    parser.add_argument('--work-dir', help='default: work_dirs/demo/<config name>')
    parser.add_argument('--retrain', action='store_true', help='train anew')
    parser.add_argument(
        '--cfg-options', nargs='+', action=KeyValues, metavar='KEY=VALUE', help='change the config'
    )
    settings = DigitsSettings()
    parser.add_argument('--train-scenes', type=int, default=settings.train_scenes, metavar='N')
    parser.add_argument('--val-scenes', type=int, default=settings.val_scenes, metavar='N')
    return parser.parse_args()


@command
def main() -> None:
    """Runs the demo; ends the process with exit code 1 if nothing was detected."""
    args = parse_args()
    console = terminal()
    cfg = load_config(args.config, args.cfg_options)
    work_dir = Path(args.work_dir or Path('work_dirs', 'demo', Path(cfg.filename).stem))
    data_root = prepare_data(cfg, args.train_scenes, args.val_scenes, console)
    train(cfg, work_dir, data_root, args.retrain, console)
    metrics = evaluate(cfg, work_dir, console)
    pictures = draw(cfg, work_dir)
    sum_up(work_dir, metrics, pictures, console)
    if not bbox_scores(metrics):
        sys.exit(1)


def prepare_data(cfg: Config, train_scenes: int, val_scenes: int, console: Console) -> Path:
    """Makes the digits set where the config looks for it, with the digits that are its classes.

    Args:
        cfg: The config of a detector of digits.
        train_scenes: Number of training scenes.
        val_scenes: Number of validation scenes.
        console: Where to tell of it.

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
        console: Where to tell of it.

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
    """Number of epochs that the latest checkpoint in a work folder has behind it.

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
        console: Where to tell of it.

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


def draw(cfg: Config, work_dir: Path) -> list[Path]:
    """Draws detections and the course of the training, where the pictures are not there yet.

    Args:
        cfg: The config.
        work_dir: The work folder of the finished training, evaluated.

    Returns:
        The pictures' paths.
    """
    dataset = cfg.test_dataloader.dataset
    root = Path(dataset.data_root)
    scenes, course = work_dir / 'detections.png', work_dir / 'training.png'
    if not scenes.exists():
        draw_detections(
            root / dataset.ann_file,
            root / dataset.data_prefix.img,
            work_dir / 'detections.bbox.json',
            scenes,
            palette=dataset.metainfo.get('palette'),
        )
    if not course.exists():
        title = f'{cfg.model.type}, {cfg.model.backbone.type}, {cfg.model.neck.type}'
        draw_history(read_history(work_dir), course, title)
    return [scenes, course]


def sum_up(
    work_dir: Path, metrics: dict[str, float], pictures: list[Path], console: Console
) -> None:
    """Prints the closing summary.

    Args:
        work_dir: The work folder.
        metrics: What the evaluation gave.
        pictures: Paths of the pictures.
        console: Where to print.
    """
    rows = [(name, f'[bold]{score:.3f}[/bold]') for name, score in bbox_scores(metrics).items()]
    if not rows:
        rows.append(('mAP', '[bold red]none: nothing was detected, so there is no metric'))
    minutes, seconds = divmod(round(read_history(work_dir).seconds), 60)
    rows.append(('training time', f'{minutes} min {seconds} s, evaluation not counted'))
    rows.append(('checkpoint', os.path.relpath(latest_checkpoint(work_dir))))
    rows += [('' if number else 'pictures', str(path)) for number, path in enumerate(pictures)]
    console.print()
    for name, value in rows:
        console.print(f'{name:<15}{value}', highlight=False, soft_wrap=True)


def _read_json(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def terminal() -> Console:
    """Returns a console on standard output that :func:`quiet` does not silence."""
    # Without the file, rich looks up sys.stdout anew for each line.
    return Console(file=sys.stdout)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what MMEngine and COCO's tools print off the terminal; the log files have it."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
