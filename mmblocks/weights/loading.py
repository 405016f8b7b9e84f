"""Loading the weights of one part of a model, wherever they come from."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmblocks.utils.errors import UserError
from mmblocks.weights.adapt import adapt_image_kernel, image_kernel
from mmblocks.weights.files import guard_loaders, weights
from mmblocks.weights.key_mapping import choose_key_mapping, rename_keys
from mmblocks.weights.leftovers import out_of_place
from mmblocks.weights.published import doubt_about
from mmblocks.weights.report import LoadReport, listed, looks_like
from mmblocks.weights.values import checked_values

_MIN_MATCH = 0.9
# A prefix under which fewer of a module's tensors stand is not where its weights are.
_LEAST_SHARE = 0.5


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
            it is known to be of models that give other maps than this net; the last is passed over
            where ``min_match`` is lowered.

    Example:
        >>> from mmblocks import ResNet
        >>> report = load_pretrained(ResNet(18), 'torchvision://resnet18')  # doctest: +SKIP
        >>> report.share  # doctest: +SKIP
        1.0
    """
    if not 0 <= min_match <= 1:
        raise ValueError(f'min_match={min_match!r}: must be 0 to 1')
    guard_loaders()
    whole = weights(CheckpointLoader.load_checkpoint(checkpoint, map_location), checkpoint)
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
        names: Their names there, without the prefix.
        report: What has found its place.
    """

    state: dict[str, Tensor]
    names: list[str]
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
    try:
        prefix = _choose_prefix(module, list(whole), prefix, min_match)
        state_dict = {
            name.removeprefix(prefix): value
            for name, value in whole.items()
            if name.startswith(prefix) and isinstance(value, Tensor)
        }
        mapping = choose_key_mapping(state_dict, getattr(module, 'key_mappings', ()))
        names = list(state_dict)
        with checked_values(module, allow_nonfinite):
            state = _load(module, state_dict, adapt_input)
    except (UserError, ValueError) as error:
        raise UserError(f'{source}: {error}') from error
    report = _report(module, state, source, prefix, mapping.name if mapping else None)
    report = report._replace(others=len(whole) - len(names))
    _check(module, report, state, names, min_match)
    return Fitted(state, names, report)


def _choose_prefix(
    module: nn.Module, names: list[str], prefix: str | None, min_match: float
) -> str:
    if prefix is None:
        return _find_prefix(module, names, min_match)
    # A DDP wrapper's is gone by now.
    for given in (prefix, prefix.removeprefix('module.')):
        full = f'{given.removesuffix(".")}.' if given else ''
        if any(name.startswith(full) for name in names):
            return full
    tops = sorted({f'{name.partition(".")[0]}.' for name in names})
    raise UserError(f'no name in it begins with prefix={prefix!r}; they begin with {listed(tops)}')


def _find_prefix(module: nn.Module, names: list[str], min_match: float) -> str:
    """Finds what stands in front of a module's names in a larger model, or behind a wrapper."""
    own = set(module.state_dict())
    least = min(_LEAST_SHARE, min_match)
    shares = {}
    for prefix, under in _by_prefix(names, at_least=len(own) * least / 2).items():
        inner = [name.removeprefix(prefix) for name in under]
        try:
            renamed = rename_keys(inner, getattr(module, 'key_mappings', ()))
        except ValueError:
            # A refused mapping is there; loading says why.
            return prefix
        found = own.intersection(renamed.get(name, name) for name in inner)
        shares[prefix] = len(found) / len(own)
    most = max(shares.values(), default=0)
    if not most or most < least:
        return ''
    best, *more = (prefix for prefix, share in shares.items() if share == most)
    if more and best:
        raise UserError(
            f'several parts of it fit {type(module).__name__}: {", ".join([best, *more])}; choose '
            'one with prefix='
        )
    return best


def _by_prefix(names: list[str], at_least: float) -> dict[str, list[str]]:
    """Returns every beginning that enough names share, shorter ones first, with those names."""
    counts = Counter(prefix for name in names for prefix in _prefixes(name))
    common = [prefix for prefix, count in counts.items() if count >= at_least]
    groups = {'': names}
    groups |= {prefix: [] for prefix in sorted(common, key=lambda prefix: prefix.count('.'))}
    for name in names:
        for prefix in _prefixes(name):
            if prefix in groups:
                groups[prefix].append(name)
    return groups


def _prefixes(name: str) -> Iterator[str]:
    end = -1
    for _ in range(4):
        end = name.find('.', end + 1)
        if end < 0:
            return
        yield name[: end + 1]


def _load(module: nn.Module, state: dict[str, Tensor], adapt_input: bool) -> dict[str, Tensor]:
    """Copies what fits and gives all that was offered, under the module's own names."""
    # The hooks that rename run module by module, outer ones first, and change the dict.
    adapted, errors = False, []
    for name, part in module.named_modules():
        prefix = f'{name}.' if name else ''
        part._load_from_state_dict(state, prefix, {}, False, [], [], errors)
        if not name and adapt_input:
            adapted = adapt_image_kernel(module, state)
    # Sizes that differ are reported with the rest.
    if failed := [error for error in errors if not error.startswith('size mismatch')]:
        raise UserError(f'{len(failed)} tensors of it cannot be copied: {failed[0].strip()}')
    if adapt_input and not adapted:
        raise UserError(
            'adapt_input=True has no effect: its first convolution is not one of the same size for '
            'other channels'
        )
    return state


def _report(
    module: nn.Module, state: dict[str, Tensor], source: str, prefix: str, mapping: str | None
) -> LoadReport:
    own = module.state_dict()
    added = _added(module)
    counted = [name for name in own if not name.endswith('num_batches_tracked')]
    fits = {name for name in counted if name in state and state[name].shape == own[name].shape}
    return LoadReport(
        module=type(module).__name__,
        source=source,
        mapping=mapping,
        prefix=prefix,
        matched=tuple(name for name in counted if name in fits),
        missing=tuple(name for name in counted if name not in state and name not in added),
        added=tuple(name for name in counted if name not in state and name in added),
        mismatched=tuple(
            (name, tuple(state[name].shape), tuple(own[name].shape))
            for name in counted
            if name in state and name not in fits
        ),
        unexpected=tuple(
            sorted(
                name
                for name in state
                if name not in own and not name.endswith('num_batches_tracked')
            )
        ),
    )


def _added(module: nn.Module) -> set[str]:
    """Names of the tensors that no weights of the plain net have."""
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
    """Names the groups of a net of which nothing was found, though there was something to find."""
    lacking = (*report.missing, *(name for name, *_ in report.mismatched))
    empty = []
    for group, names in getattr(module, 'group_parts', dict)().items():
        parts = tuple(f'{name}.' for name in names)
        found = any(name.startswith(parts) for name in report.matched)
        if not found and any(name.startswith(parts) for name in lacking):
            empty.append(group)
    return empty
