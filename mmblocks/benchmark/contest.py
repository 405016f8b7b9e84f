"""Measuring a net beside its peers, and what of it goes into tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from mmblocks.benchmark.forms import FORMS
from mmblocks.benchmark.measure import (
    Run,
    Spread,
    bytes_kept,
    convolutions_of,
    interleave,
    peak_bytes,
    spread,
)
from mmblocks.benchmark.modes import Mode
from mmblocks.benchmark.nets import BenchmarkNet
from mmblocks.benchmark.peers import build

OURS = 'mmblocks'
FLOOR = 'convolutions alone'
BYTES = 'bytes kept for backward'
PEAK = 'peak memory'
BUILD = 'building it'
# Values of each round, by who they are of: a library, a form of ours, or the floor.
Values = dict[str, list[float]]


class Settings(NamedTuple):
    """How nets are measured.

    Attributes:
        modes: The ways to run them.
        rounds: How often each is run.
        device: 'cpu' or 'cuda'.
        forms: Further forms of ours, of those in `FORMS`.
    """

    modes: Sequence[Mode]
    rounds: int
    device: str = 'cpu'
    forms: Sequence[str] = ()

    def num_rounds(self, net: BenchmarkNet) -> int:
        """Returns how many rounds a net takes."""
        return self.rounds * (len(self.modes) + 1)


def measure(
    net: BenchmarkNet,
    modules: Mapping[str, Any],
    settings: Settings,
    after_round: Callable[[], None] = lambda: None,
) -> dict[str, Values]:
    """Measures a net beside its peers.

    Args:
        net: The row of the table.
        modules: The libraries that are there.
        settings: How to measure.
        after_round: Called after each round.

    Returns:
        What was measured by mode, by whose it is: seconds of each round; a number of bytes.
    """
    libraries = [OURS, *(library for library in net.peers if library in modules)]
    measured: dict[str, Values] = {}
    models: dict[str, nn.Module] = {}

    def build_run(library: str) -> Run:
        def run() -> None:
            models[library] = build(net, library, modules)

        return run

    builds = {library: build_run(library) for library in libraries}
    build_seconds = interleave(builds, settings.rounds, after_round)
    for model in models.values():
        _initialise(model)
        model.to(settings.device)
    models |= {name: FORMS[name].make(net, models[OURS]) for name in settings.forms}
    for mode in settings.modes:
        measured |= _measure_mode(net, models, mode, settings, after_round)
    return {**measured, BUILD: build_seconds}


@torch.no_grad()
def _initialise(model: nn.Module) -> None:
    """Gives a net weights that let a signal through, as not all libraries do while building."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)


def _measure_mode(
    net: BenchmarkNet,
    models: Mapping[str, nn.Module],
    mode: Mode,
    settings: Settings,
    after_round: Callable[[], None],
) -> dict[str, Values]:
    models = {
        name: model
        for name, model in models.items()
        if name not in FORMS or FORMS[name].training == mode.training
    }
    x = mode.images(net.in_channels, settings.device)
    for model in models.values():
        model.train(mode.training)
    runs = {name: mode.run_of(model, x) for name, model in models.items()}
    floor = convolutions_of(runs[OURS], settings.device)
    seconds = interleave({**runs, FLOOR: floor}, settings.rounds, after_round)
    measured = {mode.title: seconds}
    if mode.training and not mode.bf16:
        kept = {name: [float(bytes_kept(model, x))] for name, model in models.items()}
        measured[BYTES] = kept
    if settings.device == 'cuda':
        peaks = {name: [float(peak_bytes(run))] for name, run in runs.items()}
        measured[f'{PEAK}, {mode.title}'] = peaks
    return measured


class Ratio(NamedTuple):
    """A net's value over that of the fastest, or leanest, peer.

    Attributes:
        spread: Median and quartiles over the rounds.
        peer: Whose net the other one is.
    """

    spread: Spread
    peer: str


def ratio(values: Values, name: str = OURS) -> Ratio:
    """Compares a net with the best of its peers.

    Args:
        values: What was measured in a mode.
        name: Whose value: ours, a form of ours, the floor, or a peer's.

    Example:
        >>> values = {'mmblocks': [2.0, 3.0], 'timm': [2.0, 2.0], 'mmdet': [9.0, 9.0]}
        >>> ratio(values)
        Ratio(spread=Spread(low=1.125, median=1.25, high=1.375), peer='timm')
    """
    peers = [other for other in values if other not in (OURS, FLOOR, *FORMS)]
    best = min(peers, key=lambda peer: spread(values[peer]).median)
    quotients = [a / b for a, b in zip(values[name], values[best], strict=True)]
    return Ratio(spread(quotients), best)
