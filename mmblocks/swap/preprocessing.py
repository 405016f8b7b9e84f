"""The preprocessing of a detector's images, fitted to the weights of its new backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmblocks.swap.detector import Keys, type_name
from mmblocks.weights.preprocessing import (
    IMAGENET,
    Preprocessing,
    known_preprocessing,
    normalizes_in_pipeline,
)

_KEY = 'data_preprocessor'
# Those of MMEngine and mmdet that normalise, where their config names no mean.
_NORMALIZERS = ('ImgDataPreprocessor', 'DetDataPreprocessor', 'TrackDataPreprocessor')


class PreprocessingComparison(NamedTuple):
    """How a base preprocesses images, and how the weights of the new backbone expect them.

    Attributes:
        checkpoint: The weights; empty for none.
        expected: How their training preprocessed images; None if that is not known.
        of_base: How the base does; None if its config does not say.
        changes: What to write into the data preprocessors that differ, by the keys that lead
            there from the config's ``model``.
    """

    checkpoint: str
    expected: Preprocessing | None
    of_base: Preprocessing | None
    changes: dict[Keys, dict[str, Any]]

    @property
    def comment(self) -> str:
        """Returns the comment on the changes in the config."""
        assert self.of_base is not None, 'asked for without changes'
        assert self.expected is not None, 'asked for without changes'
        names = ('mean', 'std', 'channel order')
        pairs = zip(names, self.of_base, self.expected, strict=True)
        *first, last = (name for name, before, after in pairs if before != after)
        differing = f'{", ".join(first)} and {last}' if first else last
        return f'What the weights were trained on; the base has another {differing}.'

    def report(self) -> list[str]:
        """Returns lines that say what becomes of the images; none without weights."""
        if not self.checkpoint:
            return []
        before = 'as in the base' if self.of_base is None else str(self.of_base)
        if self.changes:
            return [before, f'-> {self.expected}, as the weights were trained']
        if self.expected is None:
            return [f'{before}, unchanged; not known how the weights were trained']
        return [f'{before}, unchanged']

    def warning(self) -> str:
        """Returns what the user has to check, empty for nothing."""
        if not self.checkpoint or self.changes:
            return ''
        if self.expected is not None and self.of_base is None:
            return (
                f'{self.checkpoint} expects images as {self.expected}; the base does not say '
                'in its data_preprocessor how it gives them: hold that against it'
            )
        if self.expected is not None or self.of_base is None:
            return ''
        if not self.of_base.agrees_with(IMAGENET):
            return f'the base gives images as {self.of_base}; hold that against the new weights'
        return ''


def compare_preprocessing(
    cfg: Mapping[str, Any], path: Keys, backbone: Mapping[str, Any], checkpoint: str
) -> PreprocessingComparison:
    """Compares how a base preprocesses images with how weights expect them.

    Args:
        cfg: The base's whole config.
        path: Where in its ``model`` the detector is.
        backbone: Config of the new backbone.
        checkpoint: Its weights; empty for none.
    """
    places = [_unwrapped(cfg['model'], steps) for steps in dict.fromkeys(((), path))]
    found = {keys: part for keys, part in places if part}
    in_pipeline = normalizes_in_pipeline(cfg.get('train_dataloader'))
    known = {
        keys: preprocessing
        for keys, part in found.items()
        if not in_pipeline and (preprocessing := _preprocessing(part)) is not None
    }
    in_channels = backbone.get('in_channels', 3)
    expected = known_preprocessing(checkpoint, in_channels) if checkpoint else None
    changes = {}
    for keys, value in known.items():
        if expected is not None and not value.agrees_with(expected):
            both = dict(rgb_to_bgr=False) if found[keys].get('rgb_to_bgr') else {}
            changes[keys] = expected.as_options() | both
    # A model around the detector feeds it; where it does not say how, the detector's own counts.
    of_base = next((known[keys] for keys in (*changes, *known)), None)
    return PreprocessingComparison(checkpoint, expected, of_base, changes)


def _unwrapped(model: Any, path: Keys) -> tuple[Keys, Mapping[str, Any]]:
    """Returns the keys to a part's data preprocessor, and its config, out of any wrapper."""
    for key in path:
        model = model[key]
    keys, part = (*path, _KEY), model.get(_KEY) or {}
    while _KEY in part:
        keys, part = (*keys, _KEY), part[_KEY]
    return keys, part


def _preprocessing(part: Mapping[str, Any]) -> Preprocessing | None:
    if 'mean' not in part and type_name(part).rpartition('.')[2] not in _NORMALIZERS:
        return None
    turned = part.get('bgr_to_rgb') or part.get('rgb_to_bgr')
    return Preprocessing.of(part.get('mean'), part.get('std'), bool(turned))
