"""What every backbone freezes, and how: its first groups and the statistics of its BatchNorms."""

from __future__ import annotations

import logging

from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmblocks.backbones.random_tensors import RandomTensors
from mmblocks.backbones.stitchable import StitchableModule


class FreezableModule(StitchableModule):
    """A module of groups, of which the first can be frozen.

    Args:
        frozen_stages: As :class:`BaseBackbone`'s.
        norm_eval: The same.
        init_cfg: The same.
    """

    out_indices: tuple[int, ...]

    def __init__(
        self, frozen_stages: int, norm_eval: bool, init_cfg: dict | list[dict] | None
    ) -> None:
        super().__init__(init_cfg)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        # Parameters of the frozen groups that had no gradient before they were frozen.
        self._held_back: set[str] = set()
        # Number of groups of which it was checked whether they were frozen while random.
        self._num_checked_groups = 0

    def _start_frozen(self) -> None:
        """Freezes for the first time; the groups are there."""
        self.check_frozen_stages(self.frozen_stages)
        self._hold_back(self._parameters_up_to(self.frozen_stages))
        self._freeze_stages()
        self._random_tensors = RandomTensors(self)

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
        # By the names of today, as modules may have been parametrized, fused or replaced since;
        # and all of them before anything changes.
        before = self._parameters_up_to(self.frozen_stages)
        after = self._parameters_up_to(frozen_stages)
        for name, parameter in before.items():
            if name not in self._held_back and parameter.is_floating_point():
                parameter.requires_grad_(True)
        self.frozen_stages = frozen_stages
        self._hold_back(after)
        # What is thawed and frozen again has been trained meanwhile, or not.
        self._num_checked_groups = min(self._num_checked_groups, frozen_stages + 1)
        self._freeze_stages()
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

    def train(self, mode: bool = True) -> FreezableModule:
        """Sets training mode; frozen groups, and with norm_eval every BatchNorm, stay in eval."""
        self._set_mode(mode)
        # Whatever loads weights before a training has done so.
        if mode:
            self._warn_of_random_tensors()
        return self

    def _init_random(self) -> None:
        super()._init_random()
        self._random_tensors = RandomTensors(self)

    def _set_mode(self, training: bool) -> None:
        super().train(training)
        if training:
            self._freeze_stages()
            if self.norm_eval:
                for module in self.modules():
                    if module.training and isinstance(module, _BatchNorm):
                        module.eval()

    def _freeze_stages(self) -> None:
        for name in self._parts_up_to(self.frozen_stages):
            module = self.get_submodule(name)
            module.eval()
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.requires_grad_(False)
                    parameter.grad = None

    def _parts_up_to(self, k: int) -> list[str]:
        return [name for i in range(k + 1) for name in self._parts(i)]

    def _parameters_up_to(self, k: int) -> dict[str, nn.Parameter]:
        return {
            name: parameter
            for part in self._parts_up_to(k)
            for name, parameter in self.get_submodule(part).named_parameters(part)
        }

    def _hold_back(self, parameters: dict[str, nn.Parameter]) -> None:
        """Remembers which parameters that are about to be frozen must not be thawed again."""
        self._held_back = {name for name, p in parameters.items() if not p.requires_grad}

    def _warn_of_random_tensors(self) -> None:
        """Warns, when a training starts, of what would stay random in it."""
        starts = not self._random_tensors.were_asked_for
        if not starts and self._num_checked_groups > self.frozen_stages:
            return
        random = self._random_tensors.names(self)
        if starts and self.norm_eval:
            self._warn_of_random_norms(random)
        self._warn_of_random_groups(random)

    def _warn_of_random_norms(self, random: list[str]) -> None:
        frozen = tuple(f'{part}.' for part in self._parts_up_to(self.frozen_stages))
        norms = [
            name
            for name, module in self.named_modules()
            if isinstance(module, _BatchNorm) and not f'{name}.'.startswith(frozen)
        ]
        holders = {name.rpartition('.')[0] for name in random}
        if norms and holders.issuperset(norms):
            print_log(
                f'{type(self).__name__} with norm_eval=True starts from random weights: its '
                f'{len(norms)} BatchNorms stay in eval mode and learn no statistics; write '
                'norm_eval=False, or give weights',
                logger='current',
                level=logging.WARNING,
            )

    def _warn_of_random_groups(self, random: list[str]) -> None:
        """Asks each group once whether it is frozen while random."""
        groups = list(self.group_parts().items())[self._num_checked_groups : self.frozen_stages + 1]
        self._num_checked_groups = max(self._num_checked_groups, self.frozen_stages + 1)
        found = []
        for group, parts in groups:
            beginnings = tuple(f'{part}.' for part in parts)
            if names := [name for name in random if name.startswith(beginnings)]:
                found.append(f'{group} ({len(names)} tensors, {names[0]})')
        if found:
            print_log(
                f'{type(self).__name__} with frozen_stages={self.frozen_stages} freezes what no '
                f'checkpoint has filled, so it stays random: {", ".join(found)}',
                logger='current',
                level=logging.WARNING,
            )


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
