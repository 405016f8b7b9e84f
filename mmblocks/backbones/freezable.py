"""What every backbone freezes, and how: its first groups and the statistics of its BatchNorms."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmblocks.backbones.stitchable import StitchableModule
from mmblocks.weights.module import FilledTensors


class FreezableModule(StitchableModule):
    """A module of groups, of which the first can be frozen.

    Args:
        frozen_stages: As :class:`BaseBackbone`'s.
        norm_eval: The same.
        init_cfg: The same.

    Attributes:
        filled_tensors: What weights have filled.
    """

    out_indices: tuple[int, ...]

    def __init__(
        self, frozen_stages: int, norm_eval: bool, init_cfg: dict | list[dict] | None
    ) -> None:
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._frozen_names: set[str] = set()
        # Number of groups of which it is known whether they were frozen as chance has made them.
        self._asked_groups = 0

    def _start_frozen(self) -> None:
        """Freezes for the first time; the groups are there."""
        self.check_frozen_stages(self.frozen_stages)
        self._freeze_stages()
        self.filled_tensors = FilledTensors(self)

    def check_frozen_stages(self, k: int) -> None:
        """Raises unless there is so much to freeze.

        Args:
            k: As the constructor's ``frozen_stages``.

        Raises:
            ValueError: It is out of range.
        """
        last = len(self._group_names) - 1
        if isinstance(k, bool) or not isinstance(k, int) or not -1 <= k <= last:
            raise ValueError(
                f'frozen_stages={k!r} of {type(self).__name__} with '
                f'out_indices={self.out_indices}: must be an int from -1 (nothing) over 0 (the '
                f'stem) to {last} (everything)'
            )

    def set_frozen_stages(self, frozen_stages: int) -> None:
        """Changes how much is frozen; parameters that other causes hold back stay held back.

        A DDP wrapper only knows the parameters that were trainable when it was made: wrap the
        model anew afterwards, as ``UnfreezeHook`` does.

        Args:
            frozen_stages: As the constructor's.

        Raises:
            ValueError: It is out of range; nothing has changed then.
        """
        self.check_frozen_stages(frozen_stages)
        self.frozen_stages = frozen_stages
        # What is thawed and frozen again has been trained meanwhile, or not.
        self._asked_groups = min(self._asked_groups, frozen_stages + 1)
        for name in self._frozen_names:
            self.get_parameter(name).requires_grad_(True)
        self._frozen_names.clear()
        self._set_mode(self.training)

    def frozen_summary(self) -> str:
        """Says in one line what is frozen and how many parameters are left to train."""
        frozen = [
            title
            for title, parts in list(self.group_parts().items())[: self.frozen_stages + 1]
            if parts
        ]
        total = sum(p.numel() for p in self.parameters())
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return (
            f'{type(self).__name__} with frozen_stages={self.frozen_stages}: '
            f'frozen are {", ".join(frozen) or "no groups"}; {trainable:,} of {total:,} '
            'parameters are trainable'
        )

    def init_weights(self) -> None:
        """Initialises or loads the weights and logs what is frozen."""
        super().init_weights()
        print_log(self.frozen_summary(), logger='current')

    def group_parts(self) -> dict[str, list[str]]:
        """Names the modules of each group that have parameters, those of plugins too.

        The stem is called so, each other group by the first and the last of its own. Where a net
        has no stem, it is empty.
        """
        groups = {}
        for i, names in enumerate(self._group_names):
            parts = [name for name in self._parts(i) if _has_parameters(self.get_submodule(name))]
            own = [name for name in parts if name in names] or list(names)
            title = ' to '.join(dict.fromkeys((own[0], own[-1]))) if i else 'stem'
            groups[title] = parts
        return groups

    def _warn_of_random_parts(self) -> None:
        """Asks each group once whether it is frozen as chance has made it."""
        groups = list(self.group_parts().items())[self._asked_groups : self.frozen_stages + 1]
        self._asked_groups = max(self._asked_groups, self.frozen_stages + 1)
        if random := self.filled_tensors.lacking_in(self, dict(groups)):
            print_log(
                f'{type(self).__name__} with frozen_stages={self.frozen_stages} freezes what no '
                f'checkpoint has filled, so it stays random: {", ".join(random)}',
                logger='current',
                level=logging.WARNING,
            )

    def _freeze_stages(self) -> None:
        names = [name for i in range(self.frozen_stages + 1) for name in self._parts(i)]
        for prefix in names:
            module = self.get_submodule(prefix)
            module.eval()  # which some give nothing back for
            for name, parameter in module.named_parameters(prefix):
                if parameter.requires_grad:
                    parameter.requires_grad_(False)
                    parameter.grad = None
                    self._frozen_names.add(name)

    def train(self, mode: bool = True) -> FreezableModule:
        """Sets training mode; frozen groups, and with norm_eval every BatchNorm, stay in eval."""
        self._set_mode(mode)
        # Whatever loads weights before a training has done so.
        if mode:
            self._warn_of_random_parts()
        return self

    def _set_mode(self, training: bool) -> None:
        super().train(training)
        if training:
            self._freeze_stages()
            if self.norm_eval:
                for module in self.modules():
                    if isinstance(module, _BatchNorm):
                        module.eval()


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
