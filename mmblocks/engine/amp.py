"""Automatic mixed precision: ``AmpOptimWrapper`` on a GPU, bfloat16 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn
from torch.autograd import Function

from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError
from mmblocks.utils.model_wrapper import unwrap_model

__all__ = ['BF16OptimWrapper', 'check_optim_wrapper', 'turn_on_amp']


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Trains on the CPU with the forward pass in bfloat16, where ``AmpOptimWrapper`` refuses to.

    Weights, gradients and the optimizer stay float32, and bfloat16 has float32's range, so there
    is no loss to scale and a checkpoint is that of a plain ``OptimWrapper``.

    With 8 bits of mantissa a coordinate of 1000 px would be off by up to 4 px. Box coordinates
    therefore stay float32: what mmdet's dense heads give, what its RoI extractors take, and what
    mmcv's compiled ops compute, most of which have no bfloat16 on the CPU anyway.

    Args:
        **kwargs: Arguments of ``OptimWrapper``: ``optimizer``, ``accumulative_counts``,
            ``clip_grad``.

    Example:
        >>> model = nn.Linear(2, 2)
        >>> wrapper = BF16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
        >>> with wrapper.optim_context(model):
        ...     model(torch.ones(1, 2)).dtype
        torch.bfloat16
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _keep_mmcv_ops_float32()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Called once with the model before training, which makes it the place for the hooks."""
        super().initialize_count_status(model, init_counts, max_counts)
        _keep_boxes_float32(unwrap_model(model))

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a forward pass: bfloat16, and no gradient sync while accumulating."""
        with super().optim_context(model), torch.autocast('cpu', dtype=torch.bfloat16):
            yield


def turn_on_amp(cfg: Config) -> None:
    """Makes a config train in mixed precision, in place.

    Args:
        cfg: The config. Its ``optim_wrapper`` may be an ``OptimWrapper`` or one of the two that
            this function writes; its other arguments stay.

    Raises:
        UserError: The ``optim_wrapper`` is of another type.
    """
    if cfg.get('optim_wrapper') is None:
        raise UserError('--amp needs an optim_wrapper in the config')
    name = class_name(cfg.optim_wrapper, 'OptimWrapper')
    accepted = (OptimWrapper, AmpOptimWrapper, BF16OptimWrapper)
    if name not in {cls.__name__ for cls in accepted}:
        names = ', '.join(cls.__name__ for cls in accepted)
        raise UserError(
            f'--amp cannot be combined with optim_wrapper.type={name}; it can with {names}'
        )
    if get_device() == 'cpu':
        for key in ('loss_scale', 'dtype', 'use_fsdp'):
            cfg.optim_wrapper.pop(key, None)
        cfg.optim_wrapper.type = 'BF16OptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def check_optim_wrapper(cfg: Config) -> None:
    """Raises for a config that asks for the mixed precision of a device that is not there.

    Args:
        cfg: The config.

    Raises:
        UserError: The ``optim_wrapper`` is an ``AmpOptimWrapper`` and the device is the CPU, or
            a ``BF16OptimWrapper`` and it is not.
    """
    name = class_name(cfg.get('optim_wrapper') or {})
    if get_device() == 'cpu' and name == 'AmpOptimWrapper':
        raise UserError(
            'optim_wrapper.type=AmpOptimWrapper needs a GPU and there is none; --amp trains in '
            'bfloat16 on the CPU, --cfg-options optim_wrapper.type=OptimWrapper in float32'
        )
    if get_device() != 'cpu' and name == 'BF16OptimWrapper':
        raise UserError(
            f'optim_wrapper.type=BF16OptimWrapper is for the CPU and would do nothing on '
            f'{get_device()}; --amp takes AmpOptimWrapper there'
        )


def _keep_mmcv_ops_float32() -> None:
    """Makes mmcv's compiled ops compute in float32 under CPU autocast, and as ever elsewhere.

    ``torch.amp.custom_fwd`` is torch's way to say so; it does nothing outside CPU autocast.
    """
    try:
        import mmcv.ops  # noqa: F401
    except ImportError:  # mmcv-lite has no ops to keep
        return
    for op in _subclasses(Function):
        if op.__module__.startswith('mmcv.ops') and not hasattr(op, 'float32_on_cpu'):
            op.forward = staticmethod(
                torch.amp.custom_fwd(op.forward, device_type='cpu', cast_inputs=torch.float32)
            )
            op.float32_on_cpu = True


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _keep_boxes_float32(model: nn.Module) -> None:
    """Makes mmdet's dense heads give, and its RoI extractors take, float32."""
    try:
        from mmdet.models.dense_heads import DETRHead
        from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
        from mmdet.models.roi_heads.roi_extractors.base_roi_extractor import BaseRoIExtractor
    except ImportError:  # a model of another library
        return
    for module in model.modules():
        if isinstance(module, (BaseDenseHead, DETRHead)):
            module.register_forward_hook(_float32_output)
        elif isinstance(module, BaseRoIExtractor):
            module.register_forward_pre_hook(_float32_input, with_kwargs=True)


def _float32_output(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return _float32(output)


def _float32_input(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return _float32(args), _float32(kwargs)


def _float32(value: Any) -> Any:
    """Casts the bfloat16 tensors in nested tuples, lists and dicts to float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.dtype == torch.bfloat16 else value
    if type(value) in (tuple, list):
        return type(value)(_float32(item) for item in value)
    if type(value) is dict:
        return {key: _float32(item) for key, item in value.items()}
    return value
