"""What backbones and necks share where they start from weights."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit, update_init_info

from mmblocks.weights.loading import load_pretrained
from mmblocks.weights.own_init import own_values, start_own_layers
from mmblocks.weights.published import Published

_PRETRAINED = ('Pretrained', 'PretrainedInit', 'mmengine.Pretrained', PretrainedInit)
_OPTIONS = tuple(inspect.signature(load_pretrained).parameters)[1:]


class WeightedModule(BaseModule):
    """Starts from the weights of any library where ``init_cfg`` names some.

    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` takes the arguments of
    :func:`mmblocks.weights.load_pretrained`: ``checkpoint``, ``prefix``, ``map_location``,
    ``min_match``, ``adapt_input`` and ``allow_nonfinite``. What the weights do not have is
    initialised by the default of the class.

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
        """Returns the options of the entries that load weights, and the other entries."""
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
            self._init_random()
        finally:
            self.init_cfg = given
        for options in loading:
            self.load_reports.append(load_pretrained(self, **options))
            if hasattr(self, '_params_init_info'):
                update_init_info(self, f'Pretrained: load from {options["checkpoint"]}')

    def _init_random(self) -> None:
        """Initialises all tensors; weights fill them afterwards."""
        kept = own_values(self)
        super().init_weights()
        start_own_layers(self, kept)
