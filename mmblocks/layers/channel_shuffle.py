"""The channel shuffle: what lets grouped convolutions see each other's channels."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.utils.checks import check_arguments
from mmblocks.utils.tracing import is_tracing


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Takes the channels of all groups in turn: the first of each group, then the second, ...

    From `ShuffleNet <https://arxiv.org/abs/1707.01083>`_. The order is fixed; nothing is random.

    Args:
        x: A map, (N, C, ...), with at least one dimension after the channels.
        groups: Number of groups, a divisor of C.

    Returns:
        The map with channel ``g * C / groups + k`` moved to ``k * groups + g``.

    Raises:
        ValueError: ``groups`` does not divide the channels.

    Example:
        >>> import torch
        >>> channel_shuffle(torch.arange(6).view(1, 6, 1), 2).flatten().tolist()
        [0, 3, 1, 4, 2, 5]
    """
    try:
        return _shuffle(x, groups)
    except RuntimeError as error:
        # Asked only now, since a tracer would take the question for a part of the net.
        if x.dim() > 2 and (groups < 1 or x.shape[1] % groups):
            raise ValueError(
                f'groups={groups} of channel_shuffle must divide the channels of x, which has '
                f'{x.shape[1]}'
            ) from error
        raise


def _shuffle(x: Tensor, groups: int) -> Tensor:
    if is_tracing():
        # What every exporter knows and a compiler can fuse.
        return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)
    # torch's own kernel is faster on a CPU, many times where the channels stand last in memory.
    return F.channel_shuffle(x, groups)


@MODELS.register_module()
class ChannelShuffle(nn.Module):
    """:func:`channel_shuffle` as a layer.

    Args:
        groups: Number of groups.
        in_channels: Channels of the map, to have them checked while the net is built; a
            backbone's ``plugins`` fill them in.

    Raises:
        ValueError: ``groups`` is below 1 or does not divide the channels.

    Shape:
        (N, C, ...) to the same.

    Example:
        >>> import torch
        >>> ChannelShuffle(3)(torch.arange(6).view(1, 6, 1)).flatten().tolist()
        [0, 2, 4, 1, 3, 5]
    """

    def __init__(self, groups: int, in_channels: int | None = None) -> None:
        check_arguments(ChannelShuffle, locals())
        super().__init__()
        if in_channels is not None and in_channels % groups:
            raise ValueError(
                f'groups={groups} of ChannelShuffle must divide in_channels={in_channels}'
            )
        self.groups = groups

    def extra_repr(self) -> str:
        """Names the groups in the printed net."""
        return f'groups={self.groups}'

    def forward(self, x: Tensor) -> Tensor:
        """Shuffles the channels."""
        return channel_shuffle(x, self.groups)
