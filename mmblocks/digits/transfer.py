"""The transfer example: what freezing costs and gains when there is little data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmblocks.digits.comparison import Result, Run, base_steps, choose, compare, write_table
from mmblocks.digits.training import prepare_data, terminal, train
from mmblocks.engine import load_config
from mmblocks.engine.resume import latest_checkpoint

SOURCE = 'mmblocks::digits/transfer_source.py'
TARGET = 'mmblocks::digits/transfer_target.py'


@dataclass(frozen=True)
class FineTuning(Run):
    """A training on the target.

    Args:
        frozen_stages: The backbone's setting.
        pretrained: Whether the weights start from the source's detector.
    """

    frozen_stages: int = -1
    pretrained: bool = True


BASE = 'frozen_none'
RUNS = (
    FineTuning('from scratch', 'scratch', BASE, pretrained=False),
    FineTuning('fine-tuned, nothing frozen', BASE, BASE),
    FineTuning('fine-tuned, stem frozen', 'frozen_0', BASE, frozen_stages=0),
    FineTuning('fine-tuned, frozen up to stride 8', 'frozen_5', BASE, frozen_stages=5),
    FineTuning('fine-tuned, frozen up to stride 16', 'frozen_7', BASE, frozen_stages=7),
    FineTuning('fine-tuned, whole backbone frozen', 'frozen_9', BASE, frozen_stages=9),
)


def run_transfer(
    work_dir: Path,
    only: Sequence[str] | None,
    source_scenes: int,
    target_scenes: int,
    val_scenes: int,
    epochs: int | None,
    timed_steps: int,
    retrain: bool,
) -> None:
    """Runs the example and prints its table.

    Args:
        work_dir: Folder for the runs' work folders and the table.
        only: Names of runs; None for all.
        source_scenes: Number of training scenes of the source, the digits 0 to 4.
        target_scenes: Number of training scenes of the target, the digits 5 to 9.
        val_scenes: Number of validation scenes of either.
        epochs: Number of epochs of every training; None for the configs'.
        timed_steps: How many steps are timed of each run.
        retrain: Whether to train anew in any case.
    """
    runs = choose(RUNS, only)
    console = terminal()
    options = {'train_cfg.max_epochs': epochs} if epochs else {}
    source = load_config(SOURCE, options)
    data_root = prepare_data(source, source_scenes, val_scenes, console)
    train(source, work_dir / 'source', data_root, retrain, console)

    target = load_config(TARGET, options)
    checkpoint = latest_checkpoint(work_dir / 'source')
    configs = {run: config_of(run, target, checkpoint) for run in runs}
    scenes = (target_scenes, val_scenes)
    results = compare(configs, work_dir, scenes, timed_steps, retrain, console)
    write_table(rows(results), work_dir / 'table.md', console)
    console.print('Step time and memory are relative to fine-tuning with nothing frozen.')


def config_of(run: FineTuning, target: Config, checkpoint: str) -> Config:
    """Returns the target's config for a run.

    Args:
        run: The run.
        target: The config that all runs share; it is not changed.
        checkpoint: The source's checkpoint.
    """
    cfg = copy.deepcopy(target)
    cfg.model.backbone.frozen_stages = run.frozen_stages
    if run.pretrained:
        cfg.load_from = checkpoint
    return cfg


def rows(results: Mapping[FineTuning, Result]) -> list[tuple[str, ...]]:
    """Returns the rows of the table, the header first.

    Args:
        results: Results of the runs, the base among them.
    """
    table: list[tuple[str, ...]] = [
        ('run', 'mAP', 'mAP50', 'trainable parameters', 'step time', 'kept for backward')
    ]
    bases = base_steps(results)
    for run, (scores, step) in results.items():
        table.append(
            (
                run.title,
                f'{scores["mAP"]:.3f}',
                f'{scores["mAP50"]:.3f}',
                f'{step.trainable / 1e6:.2f} of {step.total / 1e6:.2f} M',
                f'{step.seconds / bases[run].seconds:.2f}',
                f'{step.saved_bytes / bases[run].saved_bytes:.2f}',
            )
        )
    return table
