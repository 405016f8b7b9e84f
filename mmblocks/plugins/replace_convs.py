"""Layers that a config puts in place of a net's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from mmblocks.layers.same_padding import Conv2dSamePadding
from mmblocks.plugins.insert import Inserted
from mmblocks.plugins.parse import check_stages
from mmblocks.utils.accepted import FLAG, is_layer_cfg
from mmblocks.utils.checks import check, check_choice, shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import accepted_arguments, find_layer
from mmblocks.utils.probe import as_size, clone_input, probe_layer
from mmblocks.utils.types import ConfigType

_KEYS = ('cfg', 'stages', 'kernels', 'fallback_on_stride')
_KERNELS: dict[str, Callable[[nn.Conv2d], bool]] = {
    'spatial': lambda conv: max(conv.kernel_size) > 1,
    'pointwise': lambda conv: max(conv.kernel_size) == 1,
    'all': lambda conv: True,
}


class ConvReplacement(NamedTuple):
    """A layer that takes the place of convolutions, checked.

    Attributes:
        argument: Where it stands in the net's arguments, for errors.
        cfg: The layer's config.
        stages: Per stage, whether it goes there.
        kernels: Which convolutions: 'spatial', 'pointwise' or 'all'.
        fallback_on_stride: Whether convolutions with a stride stay as they are.
    """

    argument: str
    cfg: ConfigType
    stages: tuple[bool, ...]
    kernels: str = 'spatial'
    fallback_on_stride: bool = False

    def replaces(self, conv: nn.Conv2d) -> bool:
        """Whether it takes the place of a convolution.

        Args:
            conv: The convolution, in one of the stages.
        """
        is_kept = self.fallback_on_stride and max(conv.stride) > 1
        return _KERNELS[self.kernels](conv) and not is_kept


def parse_conv_replacements(
    replace_convs: Sequence[Mapping[str, Any]] | None, num_built: int, num_stages: int
) -> list[ConvReplacement]:
    """Checks the ``replace_convs`` argument of a net.

    Args:
        replace_convs: Dicts with ``cfg``, the layer's ``type`` and arguments, and optionally
            ``stages``, one bool per stage (default: all), ``kernels``: 'spatial' (default),
            'pointwise' or 'all', and ``fallback_on_stride``: True leaves convolutions with a
            stride as they are. Stems stay as they are. The dicts are not changed.
        num_built: Number of stages of the net that are built.
        num_stages: Number of stages that it can have.

    Returns:
        The replacements, in order; each sees what those before it have left.

    Raises:
        ValueError: A key is missing or unknown or has a value that it cannot have, or there is no
            such layer.

    Example:
        >>> replace_convs = [dict(cfg=dict(type='mmblocks.AKConv', num_points=5))]
        >>> parse_conv_replacements(replace_convs, 4, 4)[0].kernels
        'spatial'
    """
    if replace_convs is None:
        return []
    if not isinstance(replace_convs, Sequence) or isinstance(replace_convs, str):
        raise ValueError(f'replace_convs={shown(replace_convs)}: must be a list of dicts, or None')
    parsed = []
    for i, entry in enumerate(replace_convs):
        name = f'replace_convs[{i}]'
        if not isinstance(entry, Mapping) or 'cfg' not in entry:
            raise ValueError(f'{name}={shown(entry)}: must be a dict with {", ".join(_KEYS)}')
        if unknown := set(entry) - set(_KEYS):
            raise ValueError(f'{name} has {sorted(unknown)}; accepted are {", ".join(_KEYS)}')
        cfg, kernels = entry['cfg'], entry.get('kernels', 'spatial')
        if not is_layer_cfg(cfg):
            raise ValueError(f"{name}={shown(entry)}: cfg must be a dict with the layer's type")
        find_layer(cfg['type'], argument=f'{name}: cfg')
        check_choice(f'{name}: kernels', kernels, _KERNELS)
        check(f'{name}: fallback_on_stride', entry.get('fallback_on_stride', False), FLAG)
        stages = check_stages(entry.get('stages'), num_built, num_stages, f'{name}: stages')
        fallback_on_stride = entry.get('fallback_on_stride', False)
        parsed.append(ConvReplacement(name, dict(cfg), stages, kernels, fallback_on_stride))
    return parsed


def replace_convs(
    net: nn.Module,
    stages: Sequence[Sequence[str]],
    replacements: Sequence[Mapping[str, Any]] | None,
    num_stages: int,
    kept: Mapping[str, Inserted],
) -> dict[str, Inserted]:
    """Replaces convolutions in the stages of a net.

    Args:
        net: The net.
        stages: The names of each stage's modules.
        replacements: The config, as :func:`parse_conv_replacements` takes it.
        num_stages: Number of stages that the net can have, of which some may not be built.
        kept: What a config has put into the net already, by name; it stays as it is.

    Returns:
        What was put in, by name.

    Raises:
        ValueError: No convolution is chosen, or the layer cannot do what one of them does.
    """
    inserted: dict[str, Inserted] = {}
    for replacement in parse_conv_replacements(replacements, len(stages), num_stages):
        found = False
        for names, picked in zip(stages, replacement.stages, strict=False):
            for path, conv in list(_convs(net, names, {**kept, **inserted})) if picked else ():
                if replacement.replaces(conv):
                    parent, _, leaf = path.rpartition('.')
                    setattr(net.get_submodule(parent), leaf, _build(replacement, conv, path))
                    inserted[path] = Inserted('replace_convs', str(conv))
                    found = True
        if not found and any(replacement.stages[: len(stages)]):
            raise ValueError(
                f'{replacement.argument}: {type(net).__name__} has no {replacement.kernels} '
                f'convolution in the stages {replacement.stages}'
            )
    return inserted


def dcn_convs(net: nn.Module, stages: Sequence[Sequence[str]]) -> dict[str, Inserted]:
    """Finds the convolutions that a net's ``dcn`` has made deformable.

    Args:
        net: The net.
        stages: The names of each stage's modules.

    Returns:
        What they are, by name.
    """
    return {
        f'{path}.{block.dcn_conv}': Inserted('dcn', block.dcn_conv)
        for names in stages
        for name in names
        for path, block in net.get_submodule(name).named_modules(prefix=name)
        if getattr(block, 'dcn_conv', None)
    }


def _convs(
    net: nn.Module, names: Sequence[str], inserted: Mapping[str, Inserted]
) -> Iterator[tuple[str, nn.Conv2d]]:
    """Finds convolutions, but none that belong to what was inserted, such as those for offsets."""
    for name in names:
        module = net.get_submodule(name)
        if name in inserted:
            continue
        if isinstance(module, nn.Conv2d):
            yield name, module
        else:
            children = [f'{name}.{child}' for child, _ in module.named_children()]
            yield from _convs(net, children, inserted)


def _build(replacement: ConvReplacement, conv: nn.Conv2d, path: str) -> nn.Module:
    layer = find_layer(replacement.cfg['type'], argument=replacement.argument)
    accepted = accepted_arguments(layer)
    same = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    # One that pads by itself says that it pads nothing.
    padding = same if isinstance(conv, Conv2dSamePadding) else conv.padding
    # What the layer has to be like, and whether it is so without being asked.
    needed = dict(
        in_channels=(conv.in_channels, False),
        out_channels=(conv.out_channels, conv.out_channels == conv.in_channels),
        kernel_size=(conv.kernel_size, True),
        stride=(conv.stride, conv.stride == (1, 1)),
        padding=(padding, padding == same),
        dilation=(conv.dilation, conv.dilation == (1, 1)),
        # A layer that keeps the channels by nature may be a depthwise one.
        groups=(
            conv.groups,
            conv.groups == 1
            or (conv.groups == conv.in_channels and 'out_channels' not in accepted),
        ),
        bias=(conv.bias is not None, True),
    )
    refused = f'{replacement.argument}: {layer.__name__} cannot take the place of {path}, {conv}'
    options = {key: value for key, value in replacement.cfg.items() if key != 'type'}
    for name, (value, is_default) in needed.items():
        if name in accepted:
            options.setdefault(name, _as_int(value))
        elif not is_default:
            raise ValueError(
                f'{refused}: it has no {name}; choose others with stages, kernels or '
                'fallback_on_stride=True'
            )
    try:
        new = layer(**options)
        _check_shape(new, conv)
    except Exception as error:
        raise ValueError(f'{refused}: {first_line(error)}') from error
    return new


def _check_shape(new: nn.Module, conv: nn.Conv2d) -> None:
    """Raises unless a layer's output has as many channels and pixels as a convolution's."""
    # Whole steps of most strides, and room for the kernel.
    reach = max(d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    in_shape = (conv.in_channels, *(16 * (reach // 16 + 1),) * 2)
    needed = probe_layer(conv, in_shape).out_shape
    probe = probe_layer(new, in_shape)
    if probe.in_place:
        clone_input(new)
    if probe.out_shape is not None and needed is not None and probe.out_shape != needed:
        raise ValueError(
            f'of {as_size(in_shape)} it makes {as_size(probe.out_shape)}, where the convolution '
            f'makes {as_size(needed)}'
        )


def _as_int(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
