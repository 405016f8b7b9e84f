"""Multi-scale deformable attention in plain PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmblocks.ops.gradient import recomputed_gradients
from mmblocks.ops.precision import at_least_float32


def deformable_attention(
    value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> Tensor:
    """Sums what each query's heads see at a few points of each level.

    From `Deformable DETR <https://arxiv.org/abs/2010.04159>`_.

    Args:
        value: Pixels of all levels one after the other, (N, pixels, heads, channels).
        shapes: Height and width of each level, (levels, 2).
        locations: Points as (x, y), 0 to 1 over a map, (N, queries, heads, levels, points, 2).
        weights: Their weights, (N, queries, heads, levels, points).

    Returns:
        (N, queries, heads * channels), of the dtype of ``value``.

    Example:
        >>> value, shapes = torch.ones(1, 20, 2, 3), torch.tensor([[4, 4], [2, 2]])
        >>> points, weights = torch.full((1, 5, 2, 2, 3, 2), 0.5), torch.full((1, 5, 2, 2, 3), 0.1)
        >>> deformable_attention(value, shapes, points, weights)[0, 0]
        tensor([0.6000, 0.6000, 0.6000, 0.6000, 0.6000, 0.6000])
    """
    batch, queries, heads = locations.shape[:3]
    sizes = [(int(height), int(width)) for height, width in shapes]
    dtype, value = value.dtype, at_least_float32(value)
    total = value.new_zeros(batch * heads, value.shape[-1], queries)
    levels = value.split([height * width for height, width in sizes], dim=1)
    for level, (height, width) in enumerate(sizes):
        maps = levels[level].permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
        grid = locations[:, :, :, level].transpose(1, 2).flatten(0, 1) * 2 - 1
        seen = F.grid_sample(maps, grid.to(maps.dtype), align_corners=False)
        weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)
        total = total + torch.einsum('ncqp,nqp->ncq', seen, weight.to(seen.dtype))
    total = total.view(batch, heads * value.shape[-1], queries).transpose(1, 2)
    return total.contiguous().to(dtype)


def deformable_attention_backward(
    grad: Tensor, value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the gradients of :func:`deformable_attention` for values, points and weights.

    Args:
        grad: Gradient of its result, (N, queries, heads * channels).
        value: As there.
        shapes: As there.
        locations: As there.
        weights: As there.

    Returns:
        Three gradients, of the shapes of ``value``, ``locations`` and ``weights``.
    """
    by_value, by_locations, by_weights = recomputed_gradients(
        lambda of, points, factors: deformable_attention(of, shapes, points, factors),
        [value, locations, weights],
        grad,
    )
    return by_value, by_locations, by_weights


# A traced graph calls them as one op each, for the sizes of the levels are values of a tensor.
_forward = torch.library.custom_op(
    'mmblocks::deformable_attention', deformable_attention, mutates_args=()
)
_backward = torch.library.custom_op(
    'mmblocks::deformable_attention_backward', deformable_attention_backward, mutates_args=()
)


@_forward.register_fake
def _(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])


@_backward.register_fake
def _(
    grad: Tensor, value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)
