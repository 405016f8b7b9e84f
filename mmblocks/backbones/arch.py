"""The argument ``arch``, where it is the name of a net or a dict of a net's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from mmblocks.utils.accepted import Accepted
from mmblocks.utils.checks import shown

Arch = TypeVar('Arch', bound=tuple[Any, ...])


def resolve_arch(
    arch: str | float | Mapping[str, Any], known: Mapping[str, Arch], **rules: Accepted
) -> Arch:
    """Returns the settings of a net.

    Args:
        arch: A name, which a command line may have made a number of; or a dict of settings.
        known: Settings by name, all of one NamedTuple.
        **rules: What the settings of a dict may be; those without a default must be there.

    Raises:
        ValueError: ``arch`` is neither, or one of its settings cannot be.

    Example:
        >>> from typing import NamedTuple
        >>> from mmblocks.utils.checks import COUNT, COUNTS
        >>> class Net(NamedTuple):
        ...     depths: tuple[int, ...]
        ...     width: int = 32
        >>> known = {'18': Net((2, 2)), '34': Net((3, 4))}
        >>> resolve_arch(18, known, depths=COUNTS, width=COUNT)
        Net(depths=(2, 2), width=32)
        >>> resolve_arch(dict(depths=[1]), known, depths=COUNTS, width=COUNT)
        Net(depths=[1], width=32)
        >>> resolve_arch(dict(depths=[0]), known, depths=COUNTS, width=COUNT)
        Traceback (most recent call last):
        ValueError: arch={'depths': [0]}: depths must be a list of ints of at least 1
    """
    kind: Any = type(next(iter(known.values())))
    optional = [name for name in rules if name in kind._field_defaults]
    needed = [name for name in rules if name not in optional]
    keys = ', '.join(needed) + (f', and it may have {", ".join(optional)}' if optional else '')
    if not isinstance(arch, Mapping):
        if str(arch) not in known:
            raise ValueError(
                f'arch={shown(arch)}: must be one of {list(known)}, or a dict of {", ".join(rules)}'
            )
        return known[str(arch)]
    if not set(needed) <= set(arch) <= set(rules):
        raise ValueError(f'arch={shown(arch)}: must have the keys {keys}')
    for name, value in arch.items():
        if not rules[name].fits(value):
            raise ValueError(f'arch={shown(arch)}: {name} must be {rules[name].words}')
    settings: Arch = kind(**arch)
    return settings
