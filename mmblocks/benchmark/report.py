"""The results of the benchmark as Markdown, JSON and a picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from mmblocks.benchmark.contest import FLOOR, OURS, Values, ratio
from mmblocks.benchmark.forms import FORMS
from mmblocks.benchmark.measure import spread
from mmblocks.utils.text import markdown_table

# What was measured by net, mode and whose it is.
Results = Mapping[str, Mapping[str, Values]]


_PAGE = """# Benchmarks

What nets of mmblocks take over what the same nets of other libraries take, written by `mmblocks
benchmark` (`make benchmark`). Below 1 is less than the best of the peers, which is named. All nets
of a row compute the same from equally many parameters, without classifier; they run in one
process, all in turn, and each ratio is the median over {rounds} rounds, with its quartiles in
brackets where there is more than one round. "Its convolutions alone" is the time of the same
convolutions without anything else around them: the floor. Training is forward and backward.
Bytes are exact: storages that autograd holds, each counted once. Device: {device}; torch {torch}.

![Ratios per net](images/{picture})

{tables}

Importing a library in a process that has imported torch, relative to the fastest of the others:
{imports}.
"""


def benchmark_page(results: Results, imports: Values, about: Mapping[str, Any]) -> str:
    """Returns the page about the results in Markdown.

    Args:
        results: What was measured.
        imports: Seconds of importing each library.
        about: What stands beside them: ``device``, ``torch`` and ``rounds``.
    """
    picture = 'benchmark_gpu.png' if 'cuda' in about else 'benchmark.png'
    others = [f'{name} {ratio(imports, name).spread.median:.2f}' for name in imports]
    return _PAGE.format(**about, picture=picture, tables=tables(results), imports=', '.join(others))


def tables(results: Results) -> str:
    """Returns the tables in Markdown: one of the plain nets, and one per further form.

    Args:
        results: What was measured.
    """
    parts = [_table(results, OURS, with_floor=True)]
    for form in FORMS:
        if any(form in values for modes in results.values() for values in modes.values()):
            parts += [f'\n`{form}`, relative to the same plain peers:\n', _table(results, form)]
    return '\n'.join(parts)


def _table(results: Results, name: str, with_floor: bool = False) -> str:
    columns = _columns(results, name, with_floor)
    rows: list[Sequence[str]] = [('net', *(_title(column) for column in columns))]
    for net, modes in results.items():
        rows.append((net, *(_cell(modes, *column) for column in columns)))
    rows.append(('geometric mean', *(f'{_mean(results, *column):.2f}' for column in columns)))
    return markdown_table(rows, 'l' + 'r' * len(columns))


def _columns(results: Results, name: str, with_floor: bool) -> list[tuple[str, str]]:
    """Returns whose values of which modes make the columns."""
    columns: dict[tuple[str, str], None] = {}
    for modes in results.values():
        for mode, values in modes.items():
            for whose in (name, FLOOR) if with_floor else (name,):
                if whose in values:
                    columns[mode, whose] = None
    return list(columns)


def _title(column: tuple[str, str]) -> str:
    mode, whose = column
    return f'its {FLOOR}' if whose == FLOOR else mode


def _cell(modes: Mapping[str, Values], mode: str, name: str) -> str:
    if name not in modes.get(mode, {}):
        return ''
    (low, median, high), peer = ratio(modes[mode], name)
    if name == FLOOR:
        return f'{median:.2f}'
    quartiles = f' ({low:.2f}-{high:.2f})' if low != high else ''
    return f'{median:.2f}{quartiles} {peer}'


def _mean(results: Results, mode: str, name: str) -> float:
    return geometric_mean(
        ratio(modes[mode], name).spread.median
        for modes in results.values()
        if name in modes.get(mode, {})
    )


def as_json(results: Results, about: Mapping[str, Any], with_absolute: bool) -> str:
    """Returns the results as JSON.

    Args:
        results: What was measured.
        about: What stands beside them: versions, the device.
        with_absolute: Whether seconds and bytes are given along, which say something on a device
            with a name only.
    """
    nets = {
        net: {
            mode: {
                name: _entry(values, name, with_absolute) for name in values
            }
            for mode, values in modes.items()
        }
        for net, modes in results.items()
    }  # fmt: skip
    return json.dumps({**about, 'nets': nets}, indent=1) + '\n'


def _entry(values: Values, name: str, with_absolute: bool) -> dict[str, Any]:
    quotient, peer = ratio(values, name)
    rounded = [round(value, 4) for value in quotient]
    entry: dict[str, Any] = {'ratio': dict(zip(quotient._fields, rounded, strict=True)), 'to': peer}
    if with_absolute:
        entry['median'] = spread(values[name]).median
    return entry


def draw(results: Results, modes: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draws bars of the ratio to the fastest peer, a column of bars per mode, sorted.

    Args:
        results: What was measured.
        modes: Which modes.
        path: The picture to write.

    Returns:
        ``path``.
    """
    from matplotlib.figure import Figure

    height = 1.2 + 0.24 * len(results)
    figure = Figure(figsize=(3.6 * len(modes), height), dpi=90, layout='constrained')
    for axes, mode in zip(figure.subplots(1, len(modes), squeeze=False)[0], modes, strict=True):
        ratios = {net: ratio(measured[mode]).spread for net, measured in results.items()}
        nets = sorted(ratios, key=lambda net: -ratios[net].median)
        medians = [ratios[net].median for net in nets]
        errors = [
            [ratios[net].median - ratios[net].low for net in nets],
            [ratios[net].high - ratios[net].median for net in nets],
        ]
        colours = ['tab:green' if median <= 1.02 else 'tab:orange' for median in medians]
        axes.barh(nets, medians, xerr=errors, color=colours, error_kw=dict(lw=0.8))
        axes.axvline(1, color='black', linewidth=0.8)
        axes.set_xlim(0, max(1.3, math.ceil(max(medians) * 10) / 10))
        axes.set_title(f'{mode}\n/ fastest peer', fontsize=9)
        axes.tick_params(labelsize=7)
        axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path)
    return Path(path)
