"""The transfer example: what freezing costs and gains when there is little data."""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from mmblocks.demo import evaluate, prepare_data, quiet, terminal, train
from mmblocks.engine import UserError, build_runner, command, load_config, prepare
from mmblocks.engine.resume import latest_checkpoint
from mmblocks.utils.errors import did_you_mean, tool_parser
from mmblocks.visualization import bbox_scores

SOURCE = 'mmblocks::digits/transfer_source.py'
TARGET = 'mmblocks::digits/transfer_target.py'


class Run(NamedTuple):
    """One way to train on the target.

    Attributes:
        title: What is done, in words.
        name: Name of its work folder.
        frozen_stages: The backbone's setting.
        pretrained: Whether the weights start from the source's detector.
    """

    title: str
    name: str
    frozen_stages: int
    pretrained: bool


RUNS = (
    Run('from scratch', 'scratch', -1, False),
    Run('fine-tuned, nothing frozen', 'frozen_none', -1, True),
    Run('fine-tuned, stem frozen', 'frozen_0', 0, True),
    Run('fine-tuned, frozen up to stride 8', 'frozen_5', 5, True),
    Run('fine-tuned, frozen up to stride 16', 'frozen_7', 7, True),
    Run('fine-tuned, whole backbone frozen', 'frozen_9', 9, True),
)


# What step times and memory are relative to.
BASE = next(run for run in RUNS if run.pretrained and run.frozen_stages == -1)


class Step(NamedTuple):
    """What a training step takes.

    Attributes:
        seconds: Median time of forward, backward and update.
        saved_bytes: Activations that are kept for the backward pass.
        trainable: Parameters of the detector that get a gradient.
        total: All parameters of the detector.
    """

    seconds: float
    saved_bytes: int
    trainable: int
    total: int


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        'Pre-train a detector on the digits 0 to 4, fine-tune it on 5 to 9 with a '
        'tenth of the scenes, frozen at several depths, and compare with training from scratch. '
        'Run again, it reuses what is there.'
    )
    parser.add_argument('--work-dir', default='work_dirs/transfer')
    parser.add_argument(
        '--only', nargs='+', metavar='RUN', help=f'of {", ".join(run.name for run in RUNS)}'
    )
    parser.add_argument('--source-scenes', type=int, default=600, metavar='N')
    parser.add_argument('--target-scenes', type=int, default=60, metavar='N')
    parser.add_argument('--val-scenes', type=int, default=200, metavar='N')
    parser.add_argument('--epochs', type=int, metavar='N', help="default: the config's")
    add_timed_steps(parser)
    parser.add_argument('--retrain', action='store_true', help='train anew')
    return parser.parse_args()


def add_timed_steps(parser: argparse.ArgumentParser) -> None:
    """Adds the argument that says of how many training steps the time is the median."""
    parser.add_argument(
        '--timed-steps', type=int, default=15, metavar='N', help='default: %(default)s'
    )


@command
def main() -> None:
    """Runs the example and prints its table."""
    args = parse_args()
    runs = choose(args.only)
    console = terminal()
    work_dir = Path(args.work_dir)
    options = {'train_cfg.max_epochs': args.epochs} if args.epochs else {}
    source = load_config(SOURCE, options)
    data_root = prepare_data(source, args.source_scenes, args.val_scenes, console)
    train(source, work_dir / 'source', data_root, args.retrain, console)

    target = load_config(TARGET, options)
    data_root = prepare_data(target, args.target_scenes, args.val_scenes, console)
    checkpoint = latest_checkpoint(work_dir / 'source')
    configs = {run: config_of(run, target, checkpoint) for run in runs}
    scores = {}
    for run, cfg in configs.items():
        console.rule(run.title)
        train(cfg, work_dir / run.name, data_root, args.retrain, console)
        scores[run] = bbox_scores(evaluate(cfg, work_dir / run.name, console))
    console.rule()
    with quiet():
        steps = measure_steps(configs, work_dir / 'steps', args.timed_steps)
    table = rows(scores, steps)
    show(table, console)
    path = work_dir / 'table.md'
    path.write_text(markdown(table))
    console.print(f'The same in Markdown: {path}')


def choose(only: list[str] | None) -> list[Run]:
    """Returns the runs of these names, with the one that the others are compared with.

    Args:
        only: Names of runs; None for all.

    Raises:
        UserError: There is no such run.

    Example:
        >>> [run.name for run in choose(['frozen_9'])]
        ['frozen_none', 'frozen_9']
    """
    if only is None:
        return list(RUNS)
    known = {run.name for run in RUNS}
    if unknown := [name for name in only if name not in known]:
        raise UserError(f'--only {unknown[0]}: no such run{did_you_mean(unknown[0], known)}')
    return [run for run in RUNS if run.name in {*only, BASE.name}]


def config_of(run: Run, target: Config, checkpoint: str) -> Config:
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


def measure_steps(configs: dict[Run, Config], work_dir: Path, timed: int) -> dict[Run, Step]:
    """Measures a training step of each run, all in turn, on the same batch.

    Args:
        configs: The runs' configs.
        work_dir: Folder for the logs.
        timed: How many steps are timed of each run.

    Returns:
        A step per run; times are medians of interleaved steps.
    """
    runners = {}
    for run, cfg in configs.items():
        runner = build_runner(prepare(cfg, work_dir=str(work_dir)))
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.model.train()
        runners[run] = runner
    loader = Runner.build_dataloader(dict(target_loader(configs), num_workers=0))
    batch = next(iter(loader))
    saved = {run: _saved_bytes(runner, batch) for run, runner in runners.items()}
    times: dict[Run, list[float]] = {run: [] for run in runners}
    for _ in range(timed):
        for run, runner in runners.items():
            # A first one pays for the memory and caches that the run before has left.
            _seconds_of_step(runner, batch)
            times[run].append(_seconds_of_step(runner, batch))
    return {
        run: Step(
            statistics.median(times[run]),
            saved[run],
            sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
            sum(p.numel() for p in runner.model.parameters()),
        )
        for run, runner in runners.items()
    }


def _seconds_of_step(runner: Runner, batch: dict) -> float:
    data = copy.deepcopy(batch)
    start = time.perf_counter()
    runner.model.train_step(data, runner.optim_wrapper)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def target_loader(configs: dict[Run, Config]) -> dict:
    """Returns the training data's loader, which all runs share."""
    loader = next(iter(configs.values())).train_dataloader.to_dict()
    return {key: value for key, value in loader.items() if key != 'persistent_workers'}


def _saved_bytes(runner: Runner, batch: dict) -> int:
    """Counts what one forward pass keeps for backward, parameters left out."""
    held = {p.untyped_storage().data_ptr() for p in runner.model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    data = runner.model.data_preprocessor(copy.deepcopy(batch), training=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = runner.model(**data, mode='loss')
    # The graph has to live until here: what it holds must not be freed and its address reused.
    del losses
    return sum(sizes.values())


def rows(scores: dict[Run, dict[str, float]], steps: dict[Run, Step]) -> list[tuple[str, ...]]:
    """Lays out the table, the header first.

    Args:
        scores: mAP and mAP50 by run.
        steps: What a step takes by run.

    Raises:
        UserError: A run detected nothing, so that there is no metric.
    """
    base = steps[BASE]
    table = [('run', 'mAP', 'mAP50', 'trainable parameters', 'step time', 'kept for backward')]
    for run, step in steps.items():
        if not scores[run]:
            raise UserError(f'the run {run.title!r} detected nothing; give it more epochs')
        table.append(
            (
                run.title,
                f'{scores[run]["mAP"]:.3f}',
                f'{scores[run]["mAP50"]:.3f}',
                f'{step.trainable / 1e6:.2f} of {step.total / 1e6:.2f} M',
                f'{step.seconds / base.seconds:.2f}',
                f'{step.saved_bytes / base.saved_bytes:.2f}',
            )
        )
    return table


def show(table: list[tuple[str, ...]], console: Console) -> None:
    """Prints the table for people."""
    header, *body = table
    shown = Table(*header)
    for row in body:
        shown.add_row(*row)
    console.print(shown)
    console.print('Step time and memory are relative to fine-tuning with nothing frozen.')


def markdown(table: list[tuple[str, ...]]) -> str:
    """Writes the table in Markdown."""
    header, *body = (f'| {" | ".join(row)} |' for row in table)
    return '\n'.join([header, '|---|--:|--:|--:|--:|--:|', *body]) + '\n'
