"""Swapping the backbone of a detector's config: what ``tools/swap_backbone.py`` is made of."""

from .swap import Swap, swap_backbone

__all__ = ['Swap', 'swap_backbone']
