"""Runs every config of mmdet's zoo, or some, and writes docs/mmdet_zoo.md when all have run."""

from __future__ import annotations

import argparse
import logging
import os
import re
import warnings
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.zoo.peers import add_peers, write_language_model

WORK_DIR = Path(__file__).parents[2] / 'work_dirs' / 'zoo'


def main() -> None:
    """Reads the arguments and runs the configs that have no result yet."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.zoo', description=__doc__)
    parser.add_argument('--only', default='', help='run the configs whose path has this pattern')
    parser.add_argument('--again', action='store_true', help='run those that have failed again')
    args = parser.parse_args()
    prepare()
    run(args.only, args.again)


def prepare() -> None:
    """Imports everything that models are made of, before processes are forked from this one."""
    os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_VERBOSITY='error')
    warnings.simplefilter('ignore')
    add_peers()
    import mmblocks  # noqa: F401 - before mmcv.ops, which needs the forms that it serves

    # isort: split
    from mmdet.utils import register_all_modules
    from mmengine.logging import MMLogger

    register_all_modules(init_default_scope=True)
    MMLogger.get_instance('zoo', log_level=logging.ERROR)


def run(only: str, again: bool) -> None:
    """Runs configs, prints what fails, and writes the page if no config is without a result.

    Args:
        only: A pattern in the path of the configs to run.
        again: Whether to run those that have failed again.
    """
    from benchmarks.zoo.configs import list_configs
    from benchmarks.zoo.page import write_page
    from benchmarks.zoo.run import keep_result, read_results, run_config

    WORK_DIR.mkdir(parents=True, exist_ok=True)
    file = WORK_DIR / 'results.jsonl'
    language_model = write_language_model(WORK_DIR / 'bert')
    results = read_results(file)
    kept = {name: r for name, r in results.items() if not (again and any(r.outcome))}
    known = {result.model: result for result in kept.values()}
    todo = [name for name in list_configs() if re.search(only, name) and name not in kept]
    text = TextColumn('{task.description}')
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), text) as progress:
        bar = progress.add_task('', total=len(todo))
        for name in todo:
            progress.update(bar, description=name)
            result = run_config(name, language_model, known)
            keep_result(file, result)
            known[result.model] = results[name] = result
            if any(result.outcome):
                progress.console.print(name, *filter(None, result.outcome), sep='\n  ')
            progress.advance(bar)
    left = sum(name not in results for name in list_configs())
    if left:
        print(f'{left} configs have no result yet, without which the page is not written')
    else:
        write_page(results[name] for name in list_configs())


if __name__ == '__main__':
    main()
