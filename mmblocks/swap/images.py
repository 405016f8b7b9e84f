"""Giving a new backbone the images that its weights were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmblocks.weights.preprocessing import (
    IMAGENET,
    Preprocessing,
    known_preprocessing,
    normalizes_in_pipeline,
)

from .detector import Keys, type_name

_KEY = 'data_preprocessor'
# Those of MMEngine and mmdet that normalise, where their config names no mean.
_NORMALIZERS = ('ImgDataPreprocessor', 'DetDataPreprocessor', 'TrackDataPreprocessor')


class Images(NamedTuple):
    """What a detector makes of its images, and what the new backbone's weights expect.

    Attributes:
        source: The weights; empty for none.
        wanted: What they were trained on; None if that is not known.
        given: What the base gives; None if its config does not say.
        changes: What to write into the data preprocessors that differ, by the keys that lead
            there from the config's ``model``.
    """

    source: str
    wanted: Preprocessing | None
    given: Preprocessing | None
    changes: dict[Keys, dict[str, Any]]

    @property
    def comment(self) -> str:
        """Says in the config why it is written."""
        names = ('mean', 'std', 'channel order')
        pairs = zip(names, self.given or (), self.wanted or (), strict=True)
        *first, last = (name for name, given, wanted in pairs if given != wanted)
        differing = f'{", ".join(first)} and {last}' if first else last
        return f'What the weights were trained on; the base has another {differing}.'

    def report(self) -> list[str]:
        """Says in lines for people what becomes of the images; nothing without weights."""
        if not self.source:
            return []
        given = 'as in the base' if self.given is None else str(self.given)
        if self.changes:
            return [given, f'-> {self.wanted}, as the weights were trained']
        if self.wanted is None:
            return [f'{given}, unchanged; not known how the weights were trained']
        return [f'{given}, unchanged']

    def warning(self) -> str:
        """Says what the user has to look at; empty for nothing."""
        if not self.source or self.changes:
            return ''
        if self.wanted is not None and self.given is None:
            return (
                f'{self.source} expects images as {self.wanted}; the base does not say '
                'in its data_preprocessor how it gives them: hold that against it'
            )
        if self.wanted is None and self.given is not None and not self.given.agrees_with(IMAGENET):
            return f'the base gives images as {self.given}; hold that against the new weights'
        return ''


def compare_preprocessing(
    cfg: Mapping[str, Any], path: Keys, backbone: Mapping[str, Any], source: str
) -> Images:
    """Holds what a base makes of its images against what weights expect.

    Args:
        cfg: The base's whole config.
        path: Where in its ``model`` the detector is.
        backbone: Config of the new backbone.
        source: Its weights; empty for none.
    """
    places = [_unwrapped(cfg['model'], steps) for steps in dict.fromkeys(((), path))]
    found = {keys: part for keys, part in places if part}
    in_pipeline = normalizes_in_pipeline(cfg.get('train_dataloader'))
    parts = {} if in_pipeline else found
    given = {keys: images for keys, part in parts.items() if (images := _given(part)) is not None}
    wanted = known_preprocessing(source, backbone.get('in_channels', 3)) if source else None
    changes: dict[Keys, dict[str, Any]] = {}
    for keys, images in given.items():
        if wanted is not None and not images.agrees_with(wanted):
            both = dict(rgb_to_bgr=False) if found[keys].get('rgb_to_bgr') else {}
            changes[keys] = wanted.as_options() | both
    # A model around the detector feeds it; where it does not say how, the detector's own counts.
    first = next((given[keys] for keys in (*changes, *given)), None)
    return Images(source, wanted, first, changes)


def _unwrapped(model: Mapping[str, Any], path: Keys) -> tuple[Keys, Mapping[str, Any]]:
    """Returns the keys to a part's data preprocessor, and its config, out of any wrapper."""
    part: Any = model
    for key in path:
        part = part[key]
    keys, part = (*path, _KEY), part.get(_KEY) or {}
    while _KEY in part:
        keys, part = (*keys, _KEY), part[_KEY]
    return keys, part


def _given(part: Mapping[str, Any]) -> Preprocessing | None:
    if 'mean' not in part and type_name(part).rpartition('.')[2] not in _NORMALIZERS:
        return None
    turned = part.get('bgr_to_rgb') or part.get('rgb_to_bgr')
    return Preprocessing.of(part.get('mean'), part.get('std'), bool(turned))
