"""Comparing trainings on the digits: scores, and what a training step takes."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from rich.console import Console

from mmblocks.digits.history import bbox_scores
from mmblocks.digits.training import evaluate, prepare_data, quiet, train
from mmblocks.engine import build_runner, prepare
from mmblocks.utils.errors import UserError, did_you_mean
from mmblocks.utils.text import markdown_table


@dataclass(frozen=True)
class Run:
    """A training that is compared with others.

    Args:
        title: What is special about it, in words.
        name: Name of its work folder.
        base: Name of the run that its costs are relative to, its own for a base.
    """

    title: str
    name: str
    base: str


AnyRun = TypeVar('AnyRun', bound=Run)


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


class Result(NamedTuple):
    """The result of a training.

    Attributes:
        scores: mAP and mAP50.
        step: What a training step takes.
    """

    scores: dict[str, float]
    step: Step


def choose(runs: Sequence[AnyRun], only: Sequence[str] | None) -> list[AnyRun]:
    """Returns the runs of these names, each with the one that it is compared with.

    Args:
        runs: All runs.
        only: Names of runs; None for all.

    Raises:
        UserError: There is no such run.

    Example:
        >>> runs = [Run('plain', 'a', 'a'), Run('with SE', 'b', 'a'), Run('with ECA', 'c', 'a')]
        >>> [run.name for run in choose(runs, ['c'])]
        ['a', 'c']
    """
    if only is None:
        return list(runs)
    known = {run.name: run for run in runs}
    if unknown := [name for name in only if name not in known]:
        raise UserError(f'--only {unknown[0]}: no such run{did_you_mean(unknown[0], known)}')
    wanted = {*only, *(known[name].base for name in only)}
    return [run for run in runs if run.name in wanted]


def compare(
    configs: Mapping[AnyRun, Config],
    work_dir: Path,
    scenes: tuple[int, int],
    timed_steps: int,
    retrain: bool,
    console: Console,
) -> dict[AnyRun, Result]:
    """Trains and evaluates each run, where that is not done yet, and measures its steps.

    Args:
        configs: The runs' configs.
        work_dir: Folder for the runs' work folders.
        scenes: Numbers of training and validation scenes.
        timed_steps: How many steps are timed of each run.
        retrain: Whether to train anew in any case.
        console: Where to print.

    Raises:
        UserError: A run detected nothing, so that there is no metric.
    """
    scores = {}
    for run, cfg in configs.items():
        console.rule(f'{run.title} ({run.name})')
        data_root = prepare_data(cfg, *scenes, console)
        train(cfg, work_dir / run.name, data_root, retrain, console)
        scores[run] = bbox_scores(evaluate(cfg, work_dir / run.name, console))
    console.rule()
    for run in configs:
        if not scores[run]:
            raise UserError(f'the run {run.title!r} detected nothing; give it more epochs')
    with quiet():
        steps = measure_steps(configs, work_dir / 'steps', timed_steps)
    return {run: Result(scores[run], steps[run]) for run in configs}


def base_steps(results: Mapping[AnyRun, Result]) -> dict[AnyRun, Step]:
    """Returns for each run the step of the run that it is compared with."""
    by_name = {run.name: result.step for run, result in results.items()}
    return {run: by_name[run.base] for run in results}


def write_table(rows: Sequence[Sequence[str]], path: Path, console: Console) -> None:
    """Prints a table, the header first, and writes it to a Markdown file.

    Args:
        rows: Names in the first column and numbers in the others.
        path: The file.
        console: Where to print it.
    """
    table = markdown_table(rows, 'l' + 'r' * (len(rows[0]) - 1))
    path.write_text(table + '\n')
    console.print(table, markup=False, highlight=False, soft_wrap=True)
    console.print(f'The same in a file: {path}')


def measure_steps(
    configs: Mapping[AnyRun, Config], work_dir: Path, timed: int
) -> dict[AnyRun, Step]:
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
        # Until a training begins, a config.
        wrapper = cast('dict[str, Any]', runner.optim_wrapper)
        runner.optim_wrapper = runner.build_optim_wrapper(wrapper)
        runner.model.train()
        runners[run] = runner
    loader = next(iter(configs.values())).train_dataloader.to_dict()
    loader |= dict(num_workers=0, persistent_workers=False)
    batch = next(iter(Runner.build_dataloader(loader)))
    saved = {run: _saved_bytes(runner, batch) for run, runner in runners.items()}
    times: dict[AnyRun, list[float]] = {run: [] for run in runners}
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


def _seconds_of_step(runner: Runner, batch: dict[str, Any]) -> float:
    data = copy.deepcopy(batch)
    start = time.perf_counter()
    cast(BaseModel, runner.model).train_step(data, cast(OptimWrapper, runner.optim_wrapper))
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _saved_bytes(runner: Runner, batch: dict[str, Any]) -> int:
    """Counts what one forward pass keeps for backward, parameters left out."""
    held = {p.untyped_storage().data_ptr() for p in runner.model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    model = cast(BaseModel, runner.model)
    data = model.data_preprocessor(copy.deepcopy(batch), training=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = model(**data, mode='loss')
    # The graph has to live until here: what it holds must not be freed and its address reused.
    del losses
    return sum(sizes.values())
