"""Training with the channels of a pixel beside each other in memory."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn
from torch.utils._pytree import tree_map

from mmblocks.utils.model_wrapper import unwrap_model


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains a model in torch's ``channels_last`` memory format, model and images.

    Shapes, weights and results stay the same, but for rounding. Convolutions and norms of most nets
    are faster in it, on GPUs above all with mixed precision. One line of a config turns it on.

    Example:
        >>> custom_hooks = [dict(type='mmblocks.ChannelsLastHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Converts the model, and what its data preprocessor will give."""
        # Before, when weights are drawn, the order of their numbers would change them.
        model: Any = unwrap_model(runner.model)
        model.to(memory_format=torch.channels_last)
        self._handle = model.data_preprocessor.register_forward_hook(_convert)

    def after_train(self, runner: Runner) -> None:
        """Leaves the images as they are again."""
        self._handle.remove()


def _convert(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return tree_map(_as_channels_last, output)


def _as_channels_last(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value
