"""Loading the weights of one part of a model, wherever they come from."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmblocks.utils.errors import UserError
from mmblocks.weights.adapt import adapt_image_kernel, image_kernel
from mmblocks.weights.files import extract_state_dict, guard_loaders
from mmblocks.weights.filling import load_weights
from mmblocks.weights.key_mapping import choose_key_mapping, rename_state_dict
from mmblocks.weights.leftovers import out_of_place
from mmblocks.weights.prefix import choose_prefix
from mmblocks.weights.published import doubt_about
from mmblocks.weights.report import LoadReport, looks_like

_MIN_MATCH = 0.9


def load_pretrained(
    module: nn.Module,
    checkpoint: str,
    prefix: str | None = None,
    map_location: Any = 'cpu',
    min_match: float = _MIN_MATCH,
    adapt_input: bool = False,
    allow_nonfinite: bool = False,
) -> LoadReport:
    """Loads weights into a module, renames them as needed, and logs what has found its place.

    Args:
        module: A backbone or neck.
        checkpoint: A file of torch, safetensors or detectron2's ``.pkl``; or any address that
            MMEngine's loaders know: http(s)://, s3://, torchvision://, open-mmlab://, timm://.
        prefix: What the names of the module's weights begin with in it, with or without the dot
            at its end; default: found.
        map_location: Device to load to.
        min_match: Share of the module's tensors that must have found weights, 0 to 1; unless it
            is lowered, no stage may be left without any either. Parts that a config adds to the
            net (plugins, the offsets of deformable convolutions), BatchNorm's counters and a
            classifier of other classes are not asked for.
        adapt_input: Whether to fit the first convolution to images of another number of
            channels: one channel gets the sum of those that there were, others get them in turn,
            scaled.
        allow_nonfinite: Whether NaN and infinity are loaded with a warning.

    Returns:
        What was loaded.

    Raises:
        UserError: The checkpoint cannot be read, too little of it fits, a tensor holds what the
            module cannot compute with (NaN, infinity, negative variances, integers for floats), or
            it is known to be of models whose outputs are others than this net's; the last is
            passed over where ``min_match`` is lowered.

    Example:
        >>> from mmblocks import ResNet
        >>> report = load_pretrained(ResNet(18), 'torchvision://resnet18')  # doctest: +SKIP
        >>> report.share  # doctest: +SKIP
        1.0
    """
    if not 0 <= min_match <= 1:
        raise ValueError(f'min_match={min_match!r}: must be 0 to 1')
    guard_loaders()
    loaded = CheckpointLoader.load_checkpoint(checkpoint, map_location)
    whole = extract_state_dict(loaded, checkpoint)
    fitted = fit_weights(module, whole, checkpoint, prefix, min_match, adapt_input, allow_nonfinite)
    report = fitted.report
    doubt = doubt_about(module, getattr(module, 'published', ()), checkpoint, report.mapping)
    if doubt is not None:
        if doubt.certain and min_match >= _MIN_MATCH:
            raise UserError(f'{checkpoint}: {doubt.text} (min_match below {_MIN_MATCH} loads it)')
        report = report._replace(doubt=doubt.text)
    doubtful = (
        report.doubt
        or report.missing
        or report.mismatched
        or out_of_place(module, fitted.names, report)
    )
    level = logging.WARNING if doubtful else logging.INFO
    print_log(str(report), logger='current', level=level)
    return report


class TooFewFound(UserError):
    """Too few of a module's tensors are in some weights."""


class Fitted(NamedTuple):
    """Weights that were found to be a module's.

    Attributes:
        state: The tensors of the file under the module's names, as they are in the file.
        names: Their names there, without the prefix, and the module's; None for what it drops.
        report: What has found its place.
    """

    state: dict[str, Tensor]
    names: dict[str, str | None]
    report: LoadReport


def fit_weights(
    module: nn.Module,
    whole: dict[str, Tensor],
    source: str,
    prefix: str | None = None,
    min_match: float = _MIN_MATCH,
    adapt_input: bool = False,
    allow_nonfinite: bool = False,
) -> Fitted:
    """Loads weights that are read already into a module; logs nothing.

    Args:
        module: A backbone or neck.
        whole: The state dict of a checkpoint.
        source: Where it comes from, for what is said about it.
        prefix: As :func:`load_pretrained`'s, like the others.
        min_match: The same.
        adapt_input: The same.
        allow_nonfinite: The same.

    Returns:
        The weights under the module's names, and what was loaded.

    Raises:
        UserError: Too little of it fits, or a tensor holds what the module cannot compute with.
    """
    mappings = getattr(module, 'key_mappings', ())
    try:
        prefix = choose_prefix(module, list(whole), prefix, min_match)
        state = {
            name.removeprefix(prefix): value
            for name, value in whole.items()
            if name.startswith(prefix) and isinstance(value, Tensor)
        }
        names = list(state)
        mapping = choose_key_mapping(names, mappings)
        renamed = rename_state_dict(state, mappings)
        if adapt_input and not adapt_image_kernel(module, state):
            raise UserError(
                'adapt_input=True has no effect: its first convolution is not one of the same size '
                'for other channels'
            )
        report = load_weights(module, state, source, allow_nonfinite, _added(module))
    except (UserError, ValueError) as error:
        raise UserError(f'{source}: {error}') from error
    report = report._replace(
        mapping=mapping.name if mapping else None,
        prefix=prefix,
        others=len(whole) - len(names),
    )
    _check(module, report, state, names, min_match)
    return Fitted(state, {name: renamed.get(name, name) for name in names}, report)


def _added(module: nn.Module) -> set[str]:
    """Returns the names of the tensors that no weights of the plain net have."""
    inserted = getattr(module, 'inserted', {})
    parts = tuple(f'{name}.' for name, entry in inserted.items() if entry.by != 'dcn')
    return {
        name
        for name in module.state_dict()
        if '.conv_offset.' in name or (parts and name.startswith(parts))
    }


def _check(
    module: nn.Module,
    report: LoadReport,
    state: dict[str, Tensor],
    names: list[str],
    min_match: float,
) -> None:
    sizes = ''
    if report.mismatched:
        name, given, wanted = report.mismatched[0]
        sizes = f' ({name} is {given} there and {wanted} here)'
    classifier = tuple(f'{name}.' for name in getattr(module, 'classifier_names', ()))
    others = sum(name.startswith(classifier) for name, *_ in report.mismatched) if classifier else 0
    share = len(report.matched) / max(report.wanted - others, 1)
    empty = _empty_groups(module, report) if min_match >= _MIN_MATCH else []
    if share < min_match or empty:
        where = f', none of {", ".join(empty)}' if share >= min_match else ''
        raise TooFewFound(
            f'{report.source}: only {len(report.matched)} of {report.wanted} tensors of '
            f'{report.module} found weights{where} ({share:.0%}; min_match={min_match:g}). '
            f'{looks_like(names, report)}{sizes}'
        )
    if image_kernel(module, state):
        raise UserError(
            f'{report.source} is for images of other channels{sizes}: adapt_input=True fits its '
            'first convolution to these, or in_channels must be that of the weights'
        )


def _empty_groups(module: nn.Module, report: LoadReport) -> list[str]:
    """Returns the groups that have tensors, of which none was found."""
    lacking = (*report.missing, *(name for name, *_ in report.mismatched))
    empty = []
    for group, names in getattr(module, 'group_parts', dict)().items():
        parts = tuple(f'{name}.' for name in names)
        found = any(name.startswith(parts) for name in report.matched)
        if not found and any(name.startswith(parts) for name in lacking):
            empty.append(group)
    return empty
