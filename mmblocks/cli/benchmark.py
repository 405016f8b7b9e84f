"""The command ``mmblocks benchmark`` and ``tools/benchmark.py``."""

from __future__ import annotations

import argparse
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mmblocks.benchmark.contest import Settings, measure
from mmblocks.benchmark.forms import FORMS
from mmblocks.benchmark.imports import import_seconds
from mmblocks.benchmark.modes import CPU_MODES, CUDA_MODES
from mmblocks.benchmark.nets import NETS, BenchmarkNet
from mmblocks.benchmark.peers import PEERS, import_libraries, peers_importable
from mmblocks.benchmark.report import as_json, benchmark_page, draw
from mmblocks.cli.arguments import make_parser
from mmblocks.cli.command import command
from mmblocks.utils.errors import UserError, did_you_mean, note, warn

_IMPORT_ROUNDS = 5  # they take seconds each
MODES = ('imports', *dict.fromkeys(mode.name for mode in CPU_MODES))


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = make_parser(
        'Measure nets beside the same nets of other libraries, all in turn, and write a table, '
        'JSON and a picture of the ratios to the fastest.'
    )
    parser.add_argument('--only', nargs='+', metavar='NET', help='nets by their titles')
    parser.add_argument('--rounds', type=int, default=15, metavar='N', help='default: %(default)s')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument(
        '--modes',
        nargs='+',
        choices=MODES,
        default=MODES,
        help='imports, inference of a single image or a batch, training; default: all',
    )
    parser.add_argument(
        '--threads', type=int, default=1, metavar='N', help='CPU threads; default: %(default)s'
    )
    parser.add_argument(
        '--forms', nargs='+', default=[], choices=tuple(FORMS), help='also measure these of ours'
    )
    parser.add_argument(
        '--peers', type=Path, default=PEERS, metavar='FOLDER', help='default: %(default)s'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/benchmark'), metavar='FOLDER',
        help='where to write; default: %(default)s',
    )  # fmt: skip
    return parser.parse_args()


@command
def main() -> None:
    """Measures the nets and writes what came out."""
    args = parse_args()
    if args.rounds < 2 or args.threads < 1:
        raise UserError('--rounds must be at least 2 and --threads at least 1')
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise UserError('--device cuda: there is no GPU')
    nets = _choose(args.only)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    all_modes = CUDA_MODES if args.device == 'cuda' else CPU_MODES
    modes = [mode for mode in all_modes if mode.name in args.modes]
    settings = Settings(modes, args.rounds, args.device, args.forms)
    with peers_importable(args.peers), _quiet():
        modules, errors = import_libraries()
        for library, error in errors.items():
            warn(f'{library} is left out: {error}')
        nets = [net for net in nets if any(peer in modules for peer in net.peers)]
        if not nets:
            raise UserError(f'none of the peers can be imported from {args.peers}')
        with _progress() as progress:
            import_rounds = min(args.rounds, _IMPORT_ROUNDS) if 'imports' in args.modes else 0
            total = import_rounds + sum(settings.num_rounds(net) for net in nets)
            task = progress.add_task('imports', total=total)
            advance = partial(progress.advance, task)
            imports = import_seconds(list(modules), import_rounds, args.peers, advance)
            results = {}
            for net in nets:
                progress.update(task, description=net.title)
                results[net.title] = measure(net, modules, settings, advance)
    name = 'benchmarks' if args.device == 'cpu' else 'benchmarks_gpu'
    about = _about(args)
    (args.out / 'images').mkdir(parents=True, exist_ok=True)
    page = benchmark_page(results, imports, about)
    (args.out / f'{name}.md').write_text(page)
    (args.out / f'{name}.json').write_text(
        as_json(results, about, with_absolute=args.device == 'cuda')
    )
    picture = args.out / 'images' / f'{name.replace("benchmarks", "benchmark")}.png'
    draw(results, [mode.title for mode in modes], picture)
    print(page)
    note(f'written to {args.out}')


def _choose(only: list[str] | None) -> list[BenchmarkNet]:
    known = {net.title.lower(): net for net in NETS}
    if only is None:
        return list(NETS)
    for title in only:
        if title.lower() not in known:
            raise UserError(
                f'--only {title}: no such net{did_you_mean(title.lower(), known)}; there are '
                f'{", ".join(net.title for net in NETS)}'
            )
    return [known[title.lower()] for title in dict.fromkeys(only)]


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,
        disable=not console.is_terminal,
    )


def _about(args: argparse.Namespace) -> dict[str, Any]:
    if args.device == 'cuda':
        device = torch.cuda.get_device_name()
    else:
        device = f'{platform.machine()} CPU, {args.threads} thread' + 's' * (args.threads > 1)
    return dict(device=device, torch=torch.__version__, rounds=args.rounds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps libraries from saying what they do."""
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(logging.NOTSET)
