"""Running parts of a detector on two images, to see their outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor

from mmblocks.backbones.base import BaseBackbone

# The smaller is large enough for the four extra levels of SSD's neck. By their difference, a stride
# shows even where layers do not pad and maps fall short of the image's size over the stride.
_IMAGE_SIZES = (512, 1024)


class Maps(NamedTuple):
    """The feature maps that a part returns.

    Attributes:
        channels: Channels of each.
        strides: Image pixels per pixel of each.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        """Returns them in words."""
        channels = ', '.join(map(str, sorted(set(self.channels))))
        strides = ', '.join(map(str, self.strides))
        return f'{len(self.strides)} of {channels} channels with strides {strides}'


class Probe(NamedTuple):
    """What running a part has shown.

    Attributes:
        maps: Its outputs.
        parameters: How many parameters it has.
        frozen: How many of them get no gradient.
        norm_eval: Whether it keeps its BatchNorms in eval mode.
    """

    maps: Maps
    parameters: int
    frozen: int
    norm_eval: bool


def probe(parts: Sequence[Mapping[str, Any]], scope: str) -> tuple[list[Probe], Exception | None]:
    """Builds parts of a detector and runs two images through them, one part after the other.

    On the meta device, which takes no time and no memory; a part that cannot be built or run
    there, on the CPU. No weights are loaded.

    Args:
        parts: Their configs, the backbone first. They are not changed.
        scope: The scope in which names without a prefix are looked up, such as ``'mmdet'``.

    Returns:
        What each part has shown, and what building or running the next one has raised on the CPU.
    """
    found: list[Probe] = []
    images: list[Any] = [
        torch.zeros(1, parts[0].get('in_channels', 3), size, size, device='meta')
        for size in _IMAGE_SIZES
    ]
    with DefaultScope.overwrite_default_scope(scope):
        for part in parts:
            try:
                seen, images = _run(part, images, 'meta')
            except Exception:  # operators without a meta kernel, nets that read a tensor's value
                try:
                    seen, images = _run(part, images, 'cpu')
                except Exception as error:
                    return found, error
            found.append(seen)
    return found, None


@torch.no_grad()
def _run(part: Mapping[str, Any], images: list[Any], device: str) -> tuple[Probe, list[Any]]:
    """Builds a part on a device; returns what running it shows, and its outputs."""
    with torch.device(device):
        module = MODELS.build(ConfigDict(_without_weights(part)))
    # On lines of their own: mmdet's nets do not return themselves.
    module.eval()
    outs = [module(_zeros(x, device)) for x in images]
    # Some nets freeze only now. Ours have done so, and would warn of weights that they lack.
    if not isinstance(module, BaseBackbone):
        module.train()
    parameters = list(module.parameters())
    frozen = sum(p.numel() for p in parameters if not p.requires_grad)
    norm_eval = bool(getattr(module, 'norm_eval', False))
    return Probe(_maps(*outs), sum(p.numel() for p in parameters), frozen, norm_eval), outs


def _zeros(like: Any, device: str) -> Any:
    """Returns zeros of the shape of one map, or of each of several, on a device."""
    if isinstance(like, Tensor):
        return torch.zeros(like.shape, device=device)
    return type(like)(_zeros(x, device) for x in like)


def _without_weights(part: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config of a part without weights that it would load while built, as timm's do."""
    options = copy.deepcopy(dict(part))
    if options.get('pretrained'):
        options['pretrained'] = False if options['pretrained'] is True else None
    return options


def _maps(small: Any, large: Any) -> Maps:
    pairs = list(zip(_as_maps(small), _as_maps(large), strict=True))
    pixels = _IMAGE_SIZES[1] - _IMAGE_SIZES[0]
    return Maps(
        tuple(x.shape[1] for x, _ in pairs),
        tuple(round(pixels / (y.shape[-1] - x.shape[-1])) for x, y in pairs),
    )


def _as_maps(outs: Any) -> Sequence[Tensor]:
    outs = (outs,) if isinstance(outs, Tensor) else outs
    if not isinstance(outs, (list, tuple)) or not all(
        isinstance(x, Tensor) and x.dim() == 4 for x in outs
    ):
        raise TypeError('it gives something else than feature maps')
    return outs
