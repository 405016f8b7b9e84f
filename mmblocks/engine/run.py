"""Running a prepared config to its end."""

from __future__ import annotations

from typing import Literal

from mmengine.config import Config
from torch import nn

from mmblocks.engine.launch import end_process_group, end_workers
from mmblocks.engine.runner import build_runner
from mmblocks.utils.errors import UserError, warn


def run(
    cfg: Config,
    task: Literal['train', 'test'],
    *,
    out: str | None = None,
    keep_going: bool = False,
    model: nn.Module | None = None,
) -> None:
    """Trains or tests, and ends the process group.

    Args:
        cfg: A config of `prepare`.
        task: ``'train'`` or ``'test'``.
        out: Pickle file for the predictions of a test.
        keep_going: Whether a training goes on when the loss or the weights are not finite.
        model: What is tested in place of the config's model.

    Raises:
        UserError: mmdet is not installed.
    """
    _run(cfg, task, out, keep_going, model)  # lets go of the runner, which holds the process group
    end_process_group()


def _run(
    cfg: Config,
    task: Literal['train', 'test'],
    out: str | None,
    keep_going: bool,
    model: nn.Module | None,
) -> None:
    try:
        from mmdet.evaluation import DumpDetResults
        from mmdet.utils import setup_cache_size_limit_of_dynamo
    except ModuleNotFoundError as error:
        if error.name != 'mmdet':
            raise
        raise UserError(
            'mmdet is missing; install mmblocks[lite] or mmblocks[openmmlab]'
        ) from error
    setup_cache_size_limit_of_dynamo()
    runner = build_runner(cfg, task, keep_going)
    if model is not None:
        runner.model = model
    if task == 'train':
        runner.train()
    else:
        if out is not None:
            runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=out))
        if not runner.test():
            warn('there is no metric: nothing was detected, or the evaluator gives none')
    end_workers(runner)
