"""Running many models, each in a process of its own, and keeping what became of them."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.compiled import FILE as COMPILED
from benchmarks.compiled import load_compiled_ops, use
from benchmarks.zoo.configs import read_model
from benchmarks.zoo.cut import cut
from benchmarks.zoo.step import Outcome, describe, try_model

# Seconds for one model.
LIMIT = 600


class Result(NamedTuple):
    """What became of a config.

    Attributes:
        config: Its path below mmdet's ``configs/``.
        model: A hash of its model, cut small: models of the same hash are run once.
        outcome: On the PyTorch forms of mmcv's ops.
        compiled: The same on the compiled ops; None where it was not needed.
        seconds: How long it took on the PyTorch forms.
    """

    config: str
    model: str
    outcome: Outcome
    compiled: Outcome | None = None
    seconds: float = 0.0


def run_config(config: str, language_model: Path, known: dict[str, Result]) -> Result:
    """Reads a config, cuts its model and runs it; if it fails, on the compiled ops, too.

    Args:
        config: Its path below mmdet's ``configs/``.
        language_model: Folder of the BERT to use.
        known: Results of models by their hash, which are not run again.
    """
    try:
        with warnings.catch_warnings(action='ignore'):
            model = cut(read_model(config), language_model)
    except Exception as error:  # a config is a program, and may raise anything
        return Result(config, '', Outcome(build=describe(error)))
    key = hashlib.sha256(json.dumps(model, sort_keys=True, default=str).encode()).hexdigest()[:12]
    if key in known:
        return known[key]._replace(config=config, seconds=0.0)
    start = time.monotonic()
    outcome = in_own_process(try_model, model)
    seconds = round(time.monotonic() - start, 1)
    compiled = None
    if any(outcome) and COMPILED.is_file():
        compiled = in_own_process(try_on_compiled_ops, model)
    return Result(config, key, outcome, compiled, seconds)


def try_on_compiled_ops(model: dict[str, Any]) -> Outcome:
    """Tries a model as `try_model` does, on mmcv's compiled ops; in a process of its own.

    Args:
        model: Its config.
    """
    use(load_compiled_ops())
    return try_model(model)


def in_own_process(action: Callable[[dict[str, Any]], Outcome], model: dict[str, Any]) -> Outcome:
    """Runs something that may crash or hang, and says if it did.

    Args:
        action: What to run.
        model: Its argument.
    """
    # A fork has mmdet imported already.
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, action, model))
    process.start()
    sender.close()
    try:
        if not receiver.poll(LIMIT):
            return Outcome(build=f'it took longer than {LIMIT} s')
        return receiver.recv()
    except EOFError:
        process.join()
        return Outcome(build=f'the process ended with exit code {process.exitcode}')
    finally:
        process.kill()
        process.join()


def _send(
    sender: Connection, action: Callable[[dict[str, Any]], Outcome], model: dict[str, Any]
) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    sender.send(action(model))


def read_results(file: Path) -> dict[str, Result]:
    """Returns the results that an earlier run has kept, by config.

    Args:
        file: Where they are: a JSON list a line.
    """
    if not file.is_file():
        return {}
    results = (Result(*json.loads(line)) for line in file.read_text().splitlines())
    return {
        result.config: result._replace(
            outcome=Outcome(*result.outcome),
            compiled=None if result.compiled is None else Outcome(*result.compiled),
        )
        for result in results
    }


def keep_result(file: Path, result: Result) -> None:
    """Adds a result to a file.

    Args:
        file: The file.
        result: The result.
    """
    with file.open('a') as stream:
        stream.write(json.dumps(result) + '\n')
