"""Layers that a config puts in place of a net's convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from mmblocks.layers.same_padding import Conv2dSamePadding
from mmblocks.plugins.parse import check_stages
from mmblocks.utils.checks import CONV, FLAG, Accepted, check, check_choice, is_layer_cfg, shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import accepted_arguments, find_layer
from mmblocks.utils.probe import as_size, clone_input, probe_layer

_KERNELS: dict[str, Callable[[nn.Conv2d], bool]] = {
    'spatial': lambda conv: max(conv.kernel_size) > 1,
    'pointwise': lambda conv: max(conv.kernel_size) == 1,
    'all': lambda conv: True,
}


# What a net's ``conv_cfg`` may be; the rest is found out where the layers go.
SWAP = Accepted(is_layer_cfg, CONV.words)


class ConvReplacement(NamedTuple):
    """Layers that take the place of convolutions.

    Attributes:
        cfg: The layer's config.
        stages: One bool per stage; None for all.
        kernels: Which convolutions: 'spatial', 'pointwise' or 'all'.
        fallback_on_stride: Whether convolutions with a stride stay as they are.
    """

    cfg: dict[str, Any]
    stages: Sequence[bool] | None
    kernels: str
    fallback_on_stride: bool = False


def parse_conv_replacement(conv_cfg: Mapping[str, Any] | None) -> ConvReplacement | None:
    """Returns whether a ``conv_cfg`` puts a layer of another kind in place of some convolutions.

    Args:
        conv_cfg: The config. Beside the layer's own arguments it may have ``stages``, one bool
            per stage, ``kernels``, and ``fallback_on_stride``.

    Returns:
        What is swapped; None for a config of convolutions, with which the whole net is built.

    Raises:
        ValueError: ``kernels`` is none of the three, or there is no such layer.
    """
    if conv_cfg is None:
        return None
    check('conv_cfg', conv_cfg, SWAP, optional=True)
    cfg = dict(conv_cfg)
    layer = find_layer(cfg['type'], argument='conv_cfg')
    chooses = {'stages', 'kernels', 'fallback_on_stride'} & cfg.keys()
    if issubclass(layer, nn.Conv2d) and not chooses:
        check('conv_cfg', conv_cfg, CONV)
        return None
    swap = ConvReplacement(
        cfg,
        cfg.pop('stages', None),
        cfg.pop('kernels', 'spatial'),
        cfg.pop('fallback_on_stride', False),
    )
    check_choice('conv_cfg: kernels', swap.kernels, _KERNELS)
    check('conv_cfg: fallback_on_stride', swap.fallback_on_stride, FLAG)
    return swap


def replace_convs(
    backbone: nn.Module, stages: Sequence[Sequence[str]], swap: ConvReplacement, cut: bool
) -> None:
    """Replaces convolutions in the stages of a net.

    Args:
        backbone: The net.
        stages: The names of each stage's modules.
        swap: What takes their place.
        cut: Whether there are more stages, which were not built.

    Raises:
        ValueError: No convolution is chosen, or the layer cannot do what one of them does.
    """
    chosen = check_stages(swap.stages, len(stages), cut, 'conv_cfg: stages')
    found = 0
    for names, picked in zip(stages, chosen, strict=False):
        for name in names if picked else ():
            for path, conv in list(_convs(backbone.get_submodule(name), name)):
                if _is_swapped(conv, swap):
                    parent, _, leaf = path.rpartition('.')
                    new = _replacement(conv, swap.cfg, path)
                    setattr(backbone.get_submodule(parent), leaf, new)
                    found += 1
    if not found and any(chosen[: len(stages)]):
        raise ValueError(
            f'conv_cfg={swap.cfg}: {type(backbone).__name__} has no {swap.kernels} convolution in '
            f'the stages {chosen}'
        )


def _convs(module: nn.Module, path: str) -> Iterator[tuple[str, nn.Conv2d]]:
    """Finds convolutions, but none that belong to another, as those that find its offsets."""
    if isinstance(module, nn.Conv2d):
        yield path, module
        return
    for name, child in module.named_children():
        if name != getattr(module, 'dcn_conv', None):
            yield from _convs(child, f'{path}.{name}')


def _is_swapped(conv: nn.Conv2d, swap: ConvReplacement) -> bool:
    if not _KERNELS[swap.kernels](conv):
        return False
    return not swap.fallback_on_stride or max(conv.stride) == 1


def _replacement(conv: nn.Conv2d, cfg: Mapping[str, Any], path: str) -> nn.Module:
    layer = find_layer(cfg['type'], argument='conv_cfg')
    accepted = accepted_arguments(layer)
    same = tuple(d * (k // 2) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    # One that pads by itself says that it pads nothing.
    padding = same if isinstance(conv, Conv2dSamePadding) else conv.padding
    # What the layer has to be told, and where it may be left untold.
    told = dict(
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
    options = {key: value for key, value in cfg.items() if key != 'type'}
    for name, (value, untold) in told.items():
        if name in accepted:
            options.setdefault(name, _as_int(value))
        elif not untold:
            raise ValueError(
                f'conv_cfg={shown(cfg)}: {layer.__name__} cannot take the place of {path}, {conv}: '
                f'it has no {name}; choose others with stages, kernels or fallback_on_stride=True'
            )
    try:
        new = layer(**options)
        _check_size(new, conv)
    except Exception as error:
        raise ValueError(
            f'conv_cfg={shown(cfg)}: {layer.__name__} cannot take the place of {path}, {conv}: '
            f'{first_line(error)}'
        ) from error
    new.replaces = str(conv)
    return new


def _check_size(new: nn.Module, conv: nn.Conv2d) -> None:
    """Raises unless a layer gives as many channels and pixels as a convolution."""
    # Whole steps of most strides, and room for the kernel.
    reach = max(d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True))
    in_shape = (conv.in_channels, *(16 * (reach // 16 + 1),) * 2)
    needed = probe_layer(conv, in_shape).out_shape
    trial = probe_layer(new, in_shape)
    if trial.in_place:
        clone_input(new)
    if trial.out_shape not in (needed, None):
        raise ValueError(
            f'of {as_size(in_shape)} it makes {as_size(trial.out_shape)}, where the convolution '
            f'makes {as_size(needed)}'
        )


def _as_int(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
