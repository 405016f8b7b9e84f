"""Holding a detector's images against those that its weights were trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import nn

from mmblocks.backbones.base import BaseBackbone
from mmblocks.utils.model_wrapper import unwrap_model
from mmblocks.weights.preprocessing import (
    Preprocessing,
    known_preprocessing,
    normalizes_in_pipeline,
)


@HOOKS.register_module()
class CheckPreprocessingHook(Hook):
    """Warns where a detector gives its backbone other images than its weights were trained with.

    Looks at the backbones of mmblocks that ``init_cfg`` has filled from a source whose mean,
    standard deviation and channel order are known, once, when training starts. Nothing is said
    where ``load_from`` or resuming has replaced the weights, where the pipeline normalises the
    images, or where the images have not three channels. They are taken to come as BGR, as mmcv
    loads them. ``tools/train.py`` adds the hook by itself.

    Example:
        >>> custom_hooks = [dict(type='CheckPreprocessingHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Warns once, in one line."""
        # What load_from or resuming has put in stays unknown.
        if runner._has_loaded or normalizes_in_pipeline(runner.cfg.get('train_dataloader')):
            return
        model = unwrap_model(runner.model)
        steps, given = _given(getattr(model, 'data_preprocessor', None))
        if given is None:
            return
        differing = {
            source: wanted
            for source, wanted in _sources(model).items()
            if not given.agrees_with(wanted)
        }
        if differing:
            print_log(_warning(differing, given, steps), logger='current', level=logging.WARNING)


def _given(module: nn.Module | None) -> tuple[int, Preprocessing | None]:
    """Returns what a data preprocessor makes of BGR images, and how deep in wrappers it says so."""
    steps = 0
    while module is not None and not isinstance(module, ImgDataPreprocessor):
        # A semi-supervised detector's is around the one that works.
        module = getattr(module, 'data_preprocessor', None)
        steps += 1
    if module is None:
        return steps, None
    normalizes = module._enable_normalize
    return steps, Preprocessing.of(
        module.get_buffer('mean').flatten().tolist() if normalizes else None,
        module.get_buffer('std').flatten().tolist() if normalizes else None,
        module._channel_conversion,
    )


def _sources(model: nn.Module) -> dict[str, Preprocessing]:
    """Returns what is known about the sources of the backbones' weights."""
    known = {}
    for module in model.modules():
        if isinstance(module, BaseBackbone) and module.load_reports and _takes_rgb(module):
            source = module.load_reports[-1].source
            wanted = known_preprocessing(source)
            if wanted is not None:
                known[source] = wanted
    return known


def _takes_rgb(backbone: nn.Module) -> bool:
    channels = (part.in_channels for part in backbone.modules() if isinstance(part, nn.Conv2d))
    # The Focus layer puts four pixels behind one another in the channels.
    return next(channels, 3) in (3, 12)


def _warning(differing: Mapping[str, Preprocessing], given: Preprocessing, steps: int) -> str:
    wanted = '; '.join(f'{source} expects images as {how}' for source, how in differing.items())
    *_, last = differing.values()
    text = ', '.join(f'{key}={value}' for key, value in last.as_options().items())
    for _ in range(steps + 1):
        text = f'data_preprocessor=dict({text})'
    return f'{wanted}, but the detector gives its backbone {given}: write model = dict({text})'
