"""Ending a training that has diverged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from mmblocks.utils.errors import UserError
from mmblocks.utils.model_wrapper import unwrap_model
from mmblocks.weights.report import listed

_ADVICE = (
    'lower the learning rate, warm it up, or clip gradients (optim_wrapper.clip_grad.max_norm); '
    'earlier checkpoints stay as they are; --keep-going trains on all the same'
)


@HOOKS.register_module()
class StopOnDivergenceHook(Hook):
    """Ends a training whose loss or weights are not finite any more, before they are saved.

    The loss is looked at in each iteration, and under DDP all processes end as soon as that of one
    is not finite. Gradients are not looked at: a loss scaler overflows now and then and leaves
    that step out. Weights are looked at when a checkpoint is saved. ``tools/train.py`` adds the
    hook by itself; ``--keep-going`` leaves it out.

    Raises:
        UserError: The loss or a weight is NaN or infinite.

    Example:
        >>> custom_hooks = [dict(type='mmblocks.StopOnDivergenceHook')]
    """

    # Behind the logging, and before averages of the weights and checkpoints.
    priority = 'ABOVE_NORMAL'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Looks at the loss."""
        outputs = outputs or {}
        # MMEngine has waited for the GPU to log these numbers, so that reading one is quick.
        diverged = not all(map(math.isfinite, _total(outputs).values()))
        if get_world_size() > 1:
            somewhere = torch.tensor(int(diverged))
            all_reduce(somewhere, 'max')
            if somewhere and not diverged:
                raise UserError(_message(runner, 'the loss of another process is not finite'))
        if diverged:
            parts = ', '.join(f'{name}={value:g}' for name, value in _losses(outputs).items())
            raise UserError(_message(runner, parts))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Looks at the weights."""
        broken = _not_finite(unwrap_model(runner.model), checkpoint['state_dict'])
        if broken:
            raise UserError(_message(runner, f'weights are not finite: {listed(broken)}'))


def _losses(outputs: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value) for name, value in outputs.items() if 'loss' in name}


def _number(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)


def _total(outputs: Mapping[str, Any]) -> dict[str, float]:
    """The sum of all losses, or each of them where there is no sum."""
    return {'loss': _number(outputs['loss'])} if 'loss' in outputs else _losses(outputs)


def _message(runner: Runner, what: str) -> str:
    learning_rates = cast(OptimWrapper, runner.optim_wrapper).get_lr().values()
    rates = ', '.join(f'{rate[0]:g}' for rate in learning_rates if rate)
    return (
        f'training has diverged at epoch {runner.epoch + 1}, iteration {runner.iter + 1}, learning '
        f'rate {rates}: {what}; {_ADVICE}'
    )


def _not_finite(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Names what is not finite; buffers such as masks may hold infinities, running means not."""
    buffers = {name for name, _ in model.named_buffers() if '.running_' not in f'.{name}'}
    return [
        name
        for name, value in state_dict.items()
        if isinstance(value, Tensor)
        and value.is_floating_point()
        and (value.isnan() if name in buffers else ~value.isfinite()).any()
    ]
