"""The table of backbones: the cost of each, its outputs, and whose weights it loads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from mmengine.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmblocks.backbones.base import BaseBackbone
from mmblocks.backbones.variant import Variant
from mmblocks.describe.catalog import build_on_meta, list_backbones
from mmblocks.utils.probe import skip_batch_norms
from mmblocks.utils.text import joined, markdown_table
from mmblocks.weights.published import unmet_needs


class Cost(NamedTuple):
    """What a backbone costs, without any head.

    Attributes:
        parameters: Number of parameters.
        macs: Multiply-adds of convolutions and linear layers for one image.
    """

    parameters: int
    macs: int


LIBRARIES = ('mmdet', 'mmpretrain', 'torchvision', 'timm')
# Libraries whose necks ours were proved equal to, from files with a backbone beside them.
NECK_PEERS = {'FPN': ('mmdet', 'torchvision')}
VARIANTS = tuple(
    variant._replace(cfg=dict(type=name, **variant.cfg))
    for name in list_backbones()
    for variant in MODELS.module_dict[name].variants
)


def cost(cfg: Mapping[str, Any], image_size: int = 224) -> Cost:
    """Counts parameters and MACs of a backbone without allocating it.

    Args:
        cfg: The backbone's config.
        image_size: Height and width of the image in pixels.

    Returns:
        The counts.

    Example:
        >>> cost(dict(type='mmblocks.ResNet', depth=18))
        Cost(parameters=11176512, macs=1813561344)
    """
    return _cost(build_on_meta(cfg), image_size)


def _cost(backbone: BaseBackbone, image_size: int) -> Cost:
    channels: Any = next(m.in_channels for m in backbone.modules() if hasattr(m, 'in_channels'))
    image = torch.empty(1, channels, image_size, image_size, device='meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        skip_batch_norms(backbone.eval())(image)
    return Cost(sum(p.numel() for p in backbone.parameters()), counter.get_total_flops() // 2)


@functools.cache
def _nets() -> tuple[tuple[Variant, BaseBackbone], ...]:
    """Builds all variants, which the tables look at one after the other, on the meta device."""
    return tuple((variant, build_on_meta(variant.cfg)) for variant in VARIANTS)


def backbones_table() -> str:
    """Returns the table of backbones in Markdown, one line per variant."""
    rows = [('net', 'config', 'parameters', 'MACs', 'channels', 'strides', 'weights of')]
    for (title, cfg, libraries, image_size), backbone in _nets():
        parameters, macs = _cost(backbone, image_size)
        options = ', '.join(f'{k}={v!r}' for k, v in cfg.items() if k != 'type')
        row = (
            title,
            f'`{cfg["type"]}({options})`',
            f'{parameters / 1e6:.2f} M',
            _macs(macs) + (f' at {image_size}x{image_size}' if image_size != 224 else ''),
            joined(backbone.out_channels),
            joined(backbone.out_strides),
            joined(libraries),
        )
        rows.append(row)
    return markdown_table(rows, 'llrrlll')


def families_table() -> str:
    """Returns a table in Markdown: how large the nets of a class are, and whose weights load."""
    families: dict[str, list[tuple[Variant, BaseBackbone]]] = {}
    for variant, net in _nets():
        families.setdefault(variant.cfg['type'], []).append((variant, net))
    rows = [('net', 'parameters', 'strides', 'weights of')]
    for title, members in families.items():
        nets = [net for _, net in members]
        counts = sorted(sum(p.numel() for p in net.parameters()) / 1e6 for net in nets)
        sizes = dict.fromkeys(f'{count:.1f}' for count in (counts[0], counts[-1]))
        strides = sorted({stride for net in nets for stride in net.out_strides})
        libraries = dict.fromkeys(
            library for variant, _ in members for library in variant.libraries
        )
        rows.append((title, f'{" to ".join(sizes)} M', joined(strides), joined(libraries)))
    return markdown_table(rows, 'lrll')


def weights_table() -> str:
    """Returns the table of whose weights each net loads.

    Returns:
        The table in Markdown, one line per class of backbone and neck; below it the arguments
        that some of the weights need beside those of the table of backbones.
    """
    peers = {name: set(libraries) for name, libraries in NECK_PEERS.items()}
    needs: dict[str, None] = {}
    for variant, net in _nets():
        name = variant.cfg['type']
        peers.setdefault(name, set()).update(variant.libraries)
        for row, arguments in unmet_needs(net):
            needs[f'- {name} with the weights of {row.whose}: `{arguments}`'] = None
    rows: list[tuple[str, ...]] = [('net', *LIBRARIES)]
    for name in sorted(peers, key=str.lower):
        rows.append((name, *('proved' * (library in peers[name]) for library in LIBRARIES)))
    table = markdown_table(rows, 'l' + 'c' * len(LIBRARIES))
    return '\n'.join([table, '', _NEEDS, '', *sorted(needs)])


_NEEDS = (
    'The proofs hold for the default `conv_cfg`, `norm_cfg`, `act_cfg` and `style`, but for these, '
    'which need others:'
)


def _macs(count: int) -> str:
    if count < 1e6:
        return f'{count / 1e6:.2f} M'
    return f'{count / 1e9:.2f} G' if count >= 1e9 else f'{count / 1e6:.0f} M'
