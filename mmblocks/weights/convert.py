"""Weights of one library under the names of another."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from mmblocks.utils.errors import UserError, did_you_mean
from mmblocks.weights.files import extract_state_dict, read_checkpoint
from mmblocks.weights.key_mapping import CannotBeWritten, KeyMapping, rename_keys, write_keys
from mmblocks.weights.loading import fit_weights
from mmblocks.weights.report import LoadReport, listed

OURS = 'mmblocks'


class Conversion(NamedTuple):
    """Weights under other names.

    Attributes:
        state_dict: Names there and tensors, in the order of the module's own.
        target: Whose names they are.
        report: What of the source has found its place in the module.
        left_out: Names in the source, without its prefix, that the module has no place for.
        unwritten: Names of the module's tensors that the target's file has no place for.
    """

    state_dict: dict[str, Tensor]
    target: str
    report: LoadReport
    left_out: tuple[str, ...]
    unwritten: tuple[str, ...]

    def __str__(self) -> str:
        """Returns a few lines; those that would be empty are left out."""
        report = self.report
        under = f' under {report.prefix}' if report.prefix else ''
        lines = (
            ('missing in the source', report.missing + report.added),
            ('left out, as the net has no place for them', self.left_out),
            (f'left out, as {self.target} has no place for them', self.unwritten),
        )
        return '\n'.join(
            [
                f'{report.module} from {report.source}',
                f'  names      {report.mapping or OURS}{under} -> {self.target}',
                f'  tensors    {len(self.state_dict)} written'
                + (f', {report.others} of other parts left out' if report.others else ''),
                *(f'  {len(names)} {what}: {listed(names)}' for what, names in lines if names),
            ]
        )


def convert_weights(
    module: nn.Module,
    source: str,
    to: str = OURS,
    libraries: Collection[str] = (),
    prefix: str | None = None,
    allow_nonfinite: bool = False,
) -> Conversion:
    """Reads weights of a net under any names that it loads, and names them as a library does.

    Args:
        module: The net, all of it; also on the meta device. Its own weights may change.
        source: As :func:`load_pretrained`'s ``checkpoint``.
        to: ``'mmblocks'``, one of ``libraries``, or the full name of a key mapping of theirs.
        libraries: Libraries that have this net; those that none of its key mappings is for have
            our names.
        prefix: What the names of the net's weights begin with in the source; default: found.
        allow_nonfinite: Whether NaN and infinity are taken over with a warning.

    Returns:
        The tensors as they are in the source, under their new names.

    Raises:
        UserError: The source cannot be read or is not of this net, or the library has no names
            for it.

    Example:
        >>> import tempfile, torch
        >>> from mmblocks import ResNet
        >>> with tempfile.NamedTemporaryFile(suffix='.pth') as file:
        ...     torch.save(ResNet(18).state_dict(), file.name)
        ...     conversion = convert_weights(ResNet(18), file.name, 'detectron2', ['detectron2'])
        >>> list(conversion.state_dict)[:2]
        ['stem.conv1.weight', 'stem.conv1.norm.weight']
    """
    mappings = getattr(module, 'key_mappings', ())
    # Before the source is read, which can be large and far away.
    _check_target(to, mappings, libraries, type(module).__name__)
    whole = extract_state_dict(read_checkpoint(source), source)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*copying from a non-meta parameter', UserWarning)
        fitted = fit_weights(module, whole, source, prefix, allow_nonfinite=allow_nonfinite)
    report = fitted.report
    if report.mismatched:
        name, given, wanted = report.mismatched[0]
        raise UserError(
            f'{source}: {len(report.mismatched)} of {report.wanted} tensors have another size than '
            f'in {report.module} with these options: {name} is {given} there and {wanted} here'
        )
    state = {key: fitted.state[key] for key in module.state_dict() if key in fitted.state}
    named = named_as(state, to, mappings, libraries, type(module).__name__)
    return Conversion(
        named.state_dict,
        to,
        report,
        tuple(name for name, ours in fitted.names.items() if ours not in state),
        named.unwritten,
    )


class Named(NamedTuple):
    """A state dict under other names.

    Attributes:
        state_dict: Names there and tensors.
        unwritten: Our names of the tensors that have none there.
    """

    state_dict: dict[str, Tensor]
    unwritten: tuple[str, ...]


def named_as(
    state_dict: Mapping[str, Tensor],
    to: str,
    mappings: Sequence[KeyMapping],
    libraries: Collection[str],
    net: str,
) -> Named:
    """Returns a state dict of ours under the names of a library.

    Args:
        state_dict: Our names and tensors.
        to: As :func:`convert_weights`'s.
        mappings: The key mappings of the net.
        libraries: As :func:`convert_weights`'s.
        net: The net's name, for the errors.

    Raises:
        UserError: The library has no names for it.
    """
    _check_target(to, mappings, libraries, net)
    reasons = []
    keys = list(state_dict)
    for mapping in mappings:
        # Of a library's mappings for several variants, a net's names are of one at most.
        if mapping.refused or not f'{mapping.name} ('.startswith(f'{to} ('):
            continue
        try:
            names = write_keys(keys, mapping, mappings)
        except CannotBeWritten as error:
            reasons.append(str(error))
        else:
            return _renamed(state_dict, names, mapping)
    if reasons:
        raise UserError(f'--to {to}: {"; ".join(reasons)}')
    if to != OURS and rename_keys(keys, mappings):
        raise UserError(f'--to {to}: these names would be taken for those of another library')
    return Named(dict(state_dict), ())


def _renamed(
    state_dict: Mapping[str, Tensor], names: Mapping[str, str | None], mapping: KeyMapping
) -> Named:
    renamed: dict[str, Tensor] = {}
    for key, new in names.items():
        if new is not None:
            kernel = mapping.kernels.get(new)
            tensor = state_dict[key]
            renamed[new] = tensor if kernel is None else tensor.unflatten(1, kernel)
    return Named(renamed, tuple(key for key, new in names.items() if new is None))


def targets(mappings: Iterable[KeyMapping], libraries: Collection[str]) -> list[str]:
    """Lists what weights of a net can be converted to.

    Args:
        mappings: The key mappings of the net.
        libraries: Libraries that have this net.

    Example:
        >>> targets([KeyMapping('old timm', 'x'), KeyMapping('timm (deep stem)', 'x')], ['timm'])
        ['mmblocks', 'timm', 'old timm']
    """
    others = (
        mapping.name
        for mapping in mappings
        if not mapping.refused
        and '(' not in mapping.name
        and any(word in libraries for word in mapping.name.split())
    )
    return list(dict.fromkeys([OURS, *libraries, *others]))


def _check_target(
    to: str, mappings: Sequence[KeyMapping], libraries: Collection[str], net: str
) -> None:
    known = targets(mappings, libraries)
    if to not in known:
        raise UserError(
            f'--to {to}: {net} with these options can be written for {", ".join(known)}'
            f'{did_you_mean(to, known)}'
        )
