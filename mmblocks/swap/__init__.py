"""Swapping the backbone of a detector's config: what ``mmblocks swap`` runs."""

from mmblocks.swap.swap import Swap, swap_backbone

__all__ = ['Swap', 'swap_backbone']
