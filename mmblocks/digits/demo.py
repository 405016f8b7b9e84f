"""The demo: data, training, evaluation, pictures and a summary."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.config import Config
from rich.console import Console

from mmblocks.digits.history import bbox_scores, draw_history, read_history
from mmblocks.digits.training import evaluate, prepare_data, terminal, train
from mmblocks.engine.resume import latest_checkpoint

CONFIG = 'mmblocks::digits/retinanet_ghostnet_fpn_digits.py'


def run_demo(
    cfg: Config, work_dir: Path, train_scenes: int, val_scenes: int, retrain: bool = False
) -> bool:
    """Runs the demo, or what of it has not been done yet.

    Args:
        cfg: The config of a detector of digits.
        work_dir: Folder for logs, checkpoints and pictures.
        train_scenes: Number of training scenes.
        val_scenes: Number of validation scenes.
        retrain: Whether to train anew in any case.

    Returns:
        Whether anything was detected.
    """
    console = terminal()
    data_root = prepare_data(cfg, train_scenes, val_scenes, console)
    train(cfg, work_dir, data_root, retrain, console)
    metrics = evaluate(cfg, work_dir, console)
    sum_up(work_dir, metrics, draw(cfg, work_dir), console)
    return bool(bbox_scores(metrics))


def draw(cfg: Config, work_dir: Path) -> list[Path]:
    """Draws detections and the course of the training, where the pictures are not there yet.

    Args:
        cfg: The config.
        work_dir: The work folder of the finished training, evaluated.

    Returns:
        The pictures' paths.
    """
    from mmblocks.digits.detections import draw_detections  # imports mmdet

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
