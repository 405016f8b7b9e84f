"""Where in the names of a larger model those of a module begin."""

from __future__ import annotations

from collections import Counter

from torch import nn

from mmblocks.utils.errors import UserError
from mmblocks.weights.key_mapping import rename_keys
from mmblocks.weights.report import listed

# A prefix under which fewer of a module's tensors stand is not where its weights are.
_LEAST_SHARE = 0.5


def choose_prefix(module: nn.Module, names: list[str], prefix: str | None, min_match: float) -> str:
    """Returns what stands in front of a module's names, with the dot at its end.

    Args:
        module: A backbone or neck.
        names: The names in a checkpoint.
        prefix: What was asked for, with or without the dot; None to find it.
        min_match: As :func:`load_pretrained`'s.

    Raises:
        UserError: No name begins with it, or there are several that fit.
    """
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
    groups = common = {'': names}
    for _ in range(4):
        prefixes = [
            (name[: name.find('.', len(prefix)) + 1], name)
            for prefix, under in common.items()
            for name in under
        ]
        counts = Counter(prefix for prefix, _ in prefixes)
        common = {prefix: [] for prefix, n in counts.items() if prefix and n >= at_least}
        for prefix, name in prefixes:
            if prefix in common:
                common[prefix].append(name)
        groups = groups | common
    return groups
