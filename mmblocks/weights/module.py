"""What backbones and necks share where they start from weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit, update_init_info
from torch import Tensor, nn

from mmblocks.weights.loading import load_pretrained
from mmblocks.weights.published import Published

_PRETRAINED = ('Pretrained', 'PretrainedInit', 'mmengine.Pretrained', PretrainedInit)
_OPTIONS = tuple(inspect.signature(load_pretrained).parameters)[1:]


class WeightedModule(BaseModule):
    """Starts from the weights of any library where ``init_cfg`` names some.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes the arguments of
    :func:`mmblocks.weights.load_pretrained`: ``checkpoint``, ``prefix``, ``map_location``,
    ``min_match`` and ``adapt_input``. What the weights do not have is initialised by the default
    of the class.

    Args:
        init_cfg: MMEngine's initialisation config.

    Attributes:
        load_reports: What each of the checkpoints in ``init_cfg`` has filled, once initialised.
        published: What the weights that libraries publish for this net need that stands in no
            checkpoint.

    Raises:
        ValueError: A ``Pretrained`` entry has an option that there is not, or lacks
            ``checkpoint``.
    """

    # What initialises the tensors that the weights do not have.
    default_init_cfg: ClassVar[dict | list[dict] | None] = None
    published: Sequence[Published] = ()

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(copy.deepcopy(init_cfg))
        self.load_reports = []
        for options in self._split_init_cfg()[0]:
            unknown = sorted(set(options) - set(_OPTIONS))
            if unknown or 'checkpoint' not in options:
                raise ValueError(
                    f'init_cfg={self.init_cfg}: '
                    + (f'has {", ".join(unknown)}' if unknown else 'lacks checkpoint')
                    + f'; Pretrained accepts {", ".join(_OPTIONS)}'
                )

    def _split_init_cfg(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Gives the options of the entries that load weights, and the other entries."""
        given = self.init_cfg or []
        entries = [given] if isinstance(given, dict) else list(given)
        loading = [entry for entry in entries if entry.get('type') in _PRETRAINED]
        others = [entry for entry in entries if entry.get('type') not in _PRETRAINED]
        return [{k: v for k, v in entry.items() if k != 'type'} for entry in loading], others

    def init_weights(self) -> None:
        """Initialises the weights, then loads those that ``init_cfg`` names."""
        loading, others = self._split_init_cfg()
        if self.is_init:
            super().init_weights()
            return
        given = self.init_cfg
        if loading:
            self.init_cfg = others or copy.deepcopy(self.default_init_cfg)
        try:
            super().init_weights()
        finally:
            self.init_cfg = given
        self._start_stitched()
        if hasattr(self, 'filled_tensors'):
            self.filled_tensors.forget_changes(self)
        for options in loading:
            self.load_reports.append(load_pretrained(self, **options))
            if hasattr(self, '_params_init_info'):
                update_init_info(self, f'Pretrained: load from {options["checkpoint"]}')

    def _start_stitched(self) -> None:
        """Lets layers that were put in place of others start as they want to.

        An initialisation config draws all convolutions, those inside such a layer too, and MMEngine
        asks only the children of its own modules.
        """
        for module in self.modules():
            stitched = hasattr(module, 'replaces') and hasattr(module, 'init_weights')
            if stitched and not getattr(module, 'is_init', False):
                module.init_weights()


class FilledTensors:
    """Notes which tensors of a module weights have filled or a training has changed, from now on.

    An object and no closure, so that modules can be pickled.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.names: set[str] = set()
        self._shapes = {name: value.shape for name, value in module.state_dict().items()}
        self.forget_changes(module)
        module.register_load_state_dict_pre_hook(self)

    def forget_changes(self, module: nn.Module) -> None:
        """Takes the present values for random ones, but for those that weights have filled.

        Args:
            module: The module.
        """
        self._versions = {name: _version(value) for name, value in _tensors(module).items()}

    def __call__(self, module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Is called by whatever loads, behind the hooks that rename."""
        self.names.update(
            name
            for name, shape in self._shapes.items()
            if prefix + name in state_dict and state_dict[prefix + name].shape == shape
        )

    def lacking_in(self, module: nn.Module, groups: Mapping[str, Iterable[str]]) -> list[str]:
        """Names the groups that have tensors which are as they were, with one of them.

        Args:
            module: The module.
            groups: The names of the submodules of each group.
        """
        tensors = _tensors(module)
        random = [
            name for name in tensors if name not in self.names and self._is_as_it_was(name, tensors)
        ]
        lacking = []
        for group, parts in groups.items():
            beginnings = tuple(f'{part}.' for part in parts)
            if keys := [name for name in random if name.startswith(beginnings)]:
                lacking.append(f'{group} ({len(keys)} tensors, {keys[0]})')
        return lacking

    def _is_as_it_was(self, name: str, tensors: Mapping[str, Tensor]) -> bool:
        value, (norm, _, leaf) = tensors[name], name.rpartition('.')
        start = dict(running_mean=0, running_var=1).get(leaf)
        if start is None or value.is_meta:
            return self._versions.get(name) == _version(value)
        # A training changes statistics without a trace, or with norm_eval not at all.
        weight = f'{norm}.weight'
        trained = (
            weight in tensors
            and weight not in self.names
            and self._versions.get(weight) != _version(tensors[weight])
        )
        return not trained and bool((value == start).all())


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Gives the tensors of a module that weights have, but for BatchNorm's counters."""
    return {
        name: value
        for name, value in module.state_dict(keep_vars=True).items()
        if isinstance(value, Tensor) and not name.endswith('num_batches_tracked')
    }


def _version(value: Tensor) -> int:
    """Gives how often a tensor was written to."""
    return -1 if value.is_inference() else value._version
