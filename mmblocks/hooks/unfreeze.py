"""Gradual unfreezing of a backbone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import cast

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.utils.model_wrapper import unwrap_model


@HOOKS.register_module()
class UnfreezeHook(Hook):
    """Changes a backbone's ``frozen_stages`` during training, as in gradual unfreezing.

    From `ULMFiT <https://arxiv.org/abs/1801.06146>`_. The optimizer and the learning-rate
    schedule stay as they are: what is unfrozen joins at the rate of the moment. Resuming takes
    up the state of its epoch, and under DDP the model is wrapped anew.

    Args:
        schedule: The value of ``frozen_stages`` from each epoch on, counted from 0. Before the
            first entry the backbone's own value holds.
        module: Where the backbone is in the model.
        by_epoch: Whether the schedule counts epochs; False: iterations, as in a training by
            iterations.

    Raises:
        ValueError: The schedule is empty, has keys or values that are no such numbers, or has
            entries that the training never reaches; or the optimizer was built in a way that does
            not suit what is to be unfrozen.
        TypeError: ``module`` is no backbone of mmblocks.

    Example:
        >>> hook = UnfreezeHook(schedule={0: 3, 4: 1, 8: -1})
        >>> hook.frozen_stages_at(5)
        1
    """

    def __init__(
        self, schedule: Mapping[int, int], module: str = 'backbone', by_epoch: bool = True
    ) -> None:
        numbers = [*schedule, *schedule.values()]
        if not schedule or any(isinstance(n, bool) or not isinstance(n, int) for n in numbers):
            raise ValueError(f'schedule={schedule!r}: must map epochs to frozen_stages, all ints')
        if min(schedule) < 0:
            raise ValueError(f'schedule={schedule!r}: epochs count from 0')
        self.schedule = dict(sorted(schedule.items()))
        self.module = module
        self.by_epoch = by_epoch

    def frozen_stages_at(self, time: int) -> int | None:
        """Returns what holds at an epoch (or iteration); None before the first entry."""
        past = [value for start, value in self.schedule.items() if start <= time]
        return past[-1] if past else None

    def before_train(self, runner: Runner) -> None:
        """Checks the schedule against model and optimizer and takes up its present state."""
        backbone = self._backbone(runner)
        self._check_times(runner)
        for value in set(self.schedule.values()):
            backbone.check_frozen_stages(value)
        self._check_optimizer(runner, backbone)
        self._update(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Takes up the state of the epoch."""
        if self.by_epoch:
            self._update(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Takes up the state of the iteration."""
        if not self.by_epoch:
            self._update(runner)

    def _update(self, runner: Runner) -> None:
        backbone = self._backbone(runner)
        target = self.frozen_stages_at(runner.epoch if self.by_epoch else runner.iter)
        if target is None or target == backbone.frozen_stages:
            return
        backbone.set_frozen_stages(target)
        if is_model_wrapper(runner.model):
            # Wrapping writes to all tensors: a backbone looks for random ones before.
            backbone.train()
            # DDP reduces the gradients of what was trainable when it was made, and no others.
            runner.model = runner.wrap_model(
                runner.cfg.get('model_wrapper_cfg'), unwrap_model(runner.model)
            )
        print_log(backbone.frozen_summary(), logger='current')

    def _backbone(self, runner: Runner) -> BaseBackbone:
        model = runner.model
        if is_model_wrapper(model):
            if not isinstance(model, MMDistributedDataParallel):
                raise TypeError(
                    f'UnfreezeHook works with MMDistributedDataParallel, not {type(model).__name__}'
                )
            model = unwrap_model(model)
        found = dict(model.named_modules()).get(self.module)
        if not isinstance(found, BaseBackbone):
            raise TypeError(
                f'module={self.module!r} of the model is {type(found).__name__}, not a backbone of '
                'mmblocks'
            )
        return found

    def _check_times(self, runner: Runner) -> None:
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                f'by_epoch=True of UnfreezeHook with schedule={self.schedule}: the training counts '
                'no epochs (IterBasedTrainLoop); give a schedule of iterations with by_epoch=False'
            )
        unit = 'epochs' if self.by_epoch else 'iterations'
        end = runner.max_epochs if self.by_epoch else runner.max_iters
        if late := [start for start in self.schedule if start >= end]:
            raise ValueError(
                f'schedule={self.schedule} of UnfreezeHook: the training never reaches '
                f'{", ".join(map(str, late))}; it has {end} {unit}, counted from 0'
            )

    def _check_optimizer(self, runner: Runner, backbone: BaseBackbone) -> None:
        k = backbone.frozen_stages
        advice = (
            f'; build the backbone with frozen_stages=-1 and start the schedule with 0: {k}, so '
            'that the optimizer is set up for all of it'
        )
        options = runner.cfg.get('optim_wrapper') or {}
        special = [key for key in ('paramwise_cfg', 'constructor') if options.get(key)]
        if special and k > min(self.schedule.values()):
            raise ValueError(
                f"optim_wrapper's {special[0]} was not applied to the parameters that were frozen "
                f'when the optimizer was built{advice}'
            )
        known = {id(p) for p in _optimized(runner)}
        if any(id(p) not in known for p in backbone.parameters()):
            raise ValueError(f'the optimizer lacks parameters of the backbone{advice}')


def _optimized(runner: Runner) -> Iterator[nn.Parameter]:
    groups = cast(OptimWrapper, runner.optim_wrapper).param_groups
    for group in chain.from_iterable(groups.values()) if isinstance(groups, dict) else groups:
        yield from group['params']
