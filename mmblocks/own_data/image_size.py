"""The size of images in training, in the pipelines and the preprocessing of a config."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from mmblocks.own_data.edits import Edits
from mmblocks.own_data.pipelines import steps
from mmblocks.swap.detector import Keys, dotted
from mmblocks.swap.inherit import value_at
from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError

# Arguments of pipelines and of batch augmentations that are sizes in pixels of the image.
_SIZES = ('scale', 'scales', 'img_scale', 'crop_size', 'size', 'random_size_range', 'border')
_FIXED = ('crop_size', 'size', 'random_size_range')
_MULTIPLE = 32  # to which fixed sizes are rounded, as networks want them
_RESIZE = ('Resize', 'FixScaleResize', 'RandomResize', 'RandomChoiceResize')


def training_scale(cfg: Mapping[str, Any]) -> tuple[int, int] | None:
    """Returns longer and shorter side that images are fitted into for training.

    Of several scales it is the middle one. Where the training pipeline crops and mixes images, the
    size of what comes of it counts.

    Args:
        cfg: The config.

    Returns:
        The sides; None if the config names no size.
    """
    pipeline = list(steps(cfg.get('train_dataloader')))
    cropped = [s['crop_size'] for s in pipeline if _is_size(s.get('crop_size'))]
    mixed = [s['img_scale'] for s in pipeline if _is_size(s.get('img_scale'))]
    resized = [scale for step in pipeline if (scale := _scale_of(step)) is not None]
    for sizes in (mixed, cropped, resized):
        if sizes:
            short, long = sorted(sizes[0])
            return int(long), int(short)
    return None


def set_image_size(edits: Edits, side: int | None) -> list[str]:
    """Scales the size of images to a longer side; other sizes of the pipelines scale along.

    Args:
        edits: The config.
        side: The longer side in pixels; None leaves all as it is.

    Returns:
        Lines that say what was set.

    Raises:
        UserError: The side is too small, or the base names no size.
    """
    scale = training_scale(edits.cfg)
    if side is None:
        return [f'{_times(scale)}, as in the base'] if scale else ['as in the base']
    if side < _MULTIPLE:
        raise UserError(f'--size {side}: must be at least {_MULTIPLE} pixels')
    if scale is None:
        raise UserError(f'--size {side}: the pipelines of the base name no size that could change')
    factor = side / scale[0]
    places = [
        path
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader')
        for path in _pipelines(edits.cfg.get(loader), (loader,))
    ]
    places += [
        (*path, 'switch_pipeline') for path in _hooks_with_pipelines(edits.cfg.get('custom_hooks'))
    ]
    preprocessor = ('model', 'data_preprocessor', 'batch_augments')
    if ((edits.cfg['model'].get('data_preprocessor') or {}).get('batch_augments')) is not None:
        places.append(preprocessor)
    for path in places:
        edits.set(path, _scaled(value_at(edits.cfg, path), factor))
    return [f'{_times(scale)} -> {_times(training_scale(edits.cfg))}, in {_names(places)}']


def factor_to(scale: tuple[int, int], width: int, height: int) -> float:
    """Returns the factor by which an image grows when it is fitted into a scale.

    Args:
        scale: Longer and shorter side.
        width: The image's width.
        height: Its height.

    Example:
        >>> factor_to((1333, 800), 640, 480)
        1.6666666666666667
    """
    long, short = scale
    return min(long / max(width, height), short / min(width, height))


def _scale_of(step: Mapping[str, Any]) -> tuple[int, int] | None:
    if class_name(step) not in _RESIZE:
        return None
    scales = step.get('scales', step.get('scale'))
    if isinstance(scales, (list, tuple)) and scales and all(map(_is_size, scales)):
        scales = scales[len(scales) // 2]
    return scales if _is_size(scales) else None


def _is_size(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(v, int) and v > 0 for v in value)
    )


def _scaled(value: Any, factor: float) -> Any:
    """Returns a copy of a pipeline with all sizes scaled."""
    if isinstance(value, Mapping):
        new = {}
        for key, inner in value.items():
            if key in _SIZES and _is_sizes(inner):
                new[key] = _scale(inner, factor, fixed=key in _FIXED)
            else:
                new[key] = _scaled(inner, factor)
        return new
    if isinstance(value, (list, tuple)):
        return type(value)(_scaled(inner, factor) for inner in value)
    return copy.deepcopy(value)


def _is_sizes(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_sizes, value))
    return isinstance(value, int) and not isinstance(value, bool)


def _scale(value: Any, factor: float, fixed: bool) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_scale(inner, factor, fixed) for inner in value)
    if fixed:
        return max(_MULTIPLE, round(value * factor / _MULTIPLE) * _MULTIPLE)
    # The border of an affine transformation is negative where it cuts off.
    return round(value * factor) or value


def _pipelines(value: Any, path: Keys) -> Iterator[Keys]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == 'pipeline':
                yield (*path, key)
            else:
                yield from _pipelines(inner, (*path, key))


def _hooks_with_pipelines(hooks: Any) -> Iterator[Keys]:
    for i, hook in enumerate(hooks or []):
        if 'switch_pipeline' in hook:
            yield ('custom_hooks', i)


def _names(places: list[Keys]) -> str:
    return ', '.join(dotted(path) for path in places)


def _times(scale: tuple[int, int] | None) -> str:
    return f'{scale[0]}x{scale[1]}' if scale else 'unknown'
