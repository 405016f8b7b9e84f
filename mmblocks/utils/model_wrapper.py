"""Models within DDP's and other wrappers."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """Returns the model that a wrapper such as DDP's holds, or the model itself.

    Args:
        model: A model, wrapped or not.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> unwrap_model(model) is model
        True
    """
    return model.get_submodule('module') if is_model_wrapper(model) else model
