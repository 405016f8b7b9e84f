"""Writing a config that swaps the backbone of another one."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmblocks.engine import load_config
from mmblocks.swap import detector as parts
from mmblocks.swap.detector import NeckInput
from mmblocks.swap.inherit import (
    base_path,
    check_name,
    nested_dict,
    read_again,
    value_at,
    without_scopes,
)
from mmblocks.swap.outputs import build, check_options, choose_outputs, explain_misfit
from mmblocks.swap.preprocessing import PreprocessingComparison, compare_preprocessing
from mmblocks.swap.report import Change, DetectorSummary, measure, report, warnings, weights_of
from mmblocks.swap.text import written
from mmblocks.utils.errors import UserError
from mmblocks.utils.types import ConfigType


class Swap(NamedTuple):
    """A config with another backbone, and messages about it.

    Attributes:
        text: The config.
        report: What was changed, line by line.
        warnings: What may go wrong in training if nothing else is changed.
        overrides: What the text sets beside ``_base_``, by the names of the variables.
        comments: The comments in it, by the keys that lead to what they stand above.
        cfg: The whole config that MMEngine reads from the text.
    """

    text: str
    report: str
    warnings: list[str]
    overrides: dict[str, Any]
    comments: dict[parts.Keys, str]
    cfg: dict[str, Any]


def swap_backbone(
    base: str,
    backbone: Mapping[str, Any],
    folder: str | os.PathLike[str] = '.',
    at: str | None = None,
) -> Swap:
    """Writes a config that inherits from another one and swaps its backbone.

    Nothing is assumed: the old backbone and neck are built and run to see their outputs, and so
    are the new ones, as MMEngine reads them from the written config.

    Args:
        base: Path of an mmdet config, or ``'mmdet::...'``.
        backbone: Config of a backbone of mmblocks. Its ``out_indices`` may be left out.
        folder: Where the config will be saved; a ``base`` that is a path is written relative
            to it.
        at: The part of the base that has the backbone, such as ``'model.detector'``; needed
            where there are several.

    Returns:
        The config's text and what was changed. No file is written.

    Raises:
        UserError: The base has no backbone that can be swapped, or the new one does not fit.

    Example:
        >>> base = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
        >>> swap = swap_backbone(base, dict(type='mmblocks.MobileNetV3', arch='large'))
        >>> print(swap.text)
        # RetinaNet with mmblocks.MobileNetV3; tools/swap_backbone.py wrote this.
        _base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
        custom_imports = dict(imports=['mmblocks'])
        model = dict(
            # Trains from scratch until an init_cfg names weights to start from.
            backbone=dict(_delete_=True, type='mmblocks.MobileNetV3', arch='large'),
            # For maps of strides 4, 8, 16 and 32.
            neck=dict(in_channels=[24, 40, 112, 960]),
        )
        <BLANKLINE>
    """
    backbone = _checked(backbone)
    cfg = without_scopes(load_config(base).to_dict())
    check_name(base)
    path = parts.find_detector(cfg['model'], at)
    old = measure(value_at(cfg['model'], path), cfg)
    neck_input = parts.find_neck_input(old.detector, old.maps.channels)
    backbone, skipped = _fit(backbone, old.maps.strides, neck_input)
    backbone = _trainable(backbone)
    channels = build(backbone).out_channels
    inputs: dict[str, Any] = {neck_input.key: neck_input.value(channels)}
    inputs |= _moved_levels(neck_input.part, skipped)
    heads: dict[str, list[int]] = {}
    if new_outputs := parts.pass_through_channels(neck_input, channels):
        heads = dict.fromkeys(
            parts.heads_with_channels(old.detector, neck_input.part['out_channels']), new_outputs
        )
        inputs['out_channels'] = new_outputs
    preprocessing = compare_preprocessing(cfg, path, backbone, weights_of(backbone))

    overrides, expected = _changes(cfg, path, backbone, neck_input, inputs, heads, preprocessing)
    comments = _comments(path, backbone, neck_input, old.maps.strides[skipped:])
    if preprocessing.changes:
        comments |= dict.fromkeys(preprocessing.changes, preprocessing.comment)
    title = f'# {parts.type_name(old.detector)} with {backbone["type"]}'

    variables = dict(custom_imports=dict(imports=expected['custom_imports']['imports']))
    variables |= dict(model=overrides)
    comments = {('model', *keys): comment for keys, comment in comments.items()}

    def text(path: str) -> str:
        opening = f'{title}; tools/swap_backbone.py wrote this.'
        return written(opening, dict(_base_=path, **variables), comments)

    result = read_again(text(base_path(base)), base)
    if result != expected:
        different = [
            key for key in result.keys() | expected if result.get(key) != expected.get(key)
        ]
        raise RuntimeError(f'more than the backbone would change in {base}: {different}')
    new = measure(value_at(result['model'], path), result)
    _check_head_inputs(old, new, neck_input, inputs.get('out_channels'))
    change = Change(base, cfg, old, new, neck_input, inputs, heads, preprocessing)
    return Swap(
        text(base_path(base, Path(folder))),
        report(change),
        warnings(change),
        variables,
        comments,
        expected,
    )


def _checked(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Checks a backbone's config and puts it in the order in which it is written."""
    options = copy.deepcopy(dict(backbone))
    name = str(options.pop('type', None)).removeprefix('mmblocks.')
    check_options(name, options)
    if isinstance(options.get('out_indices'), list):
        options['out_indices'] = tuple(options['out_indices'])
    return dict(type=f'mmblocks.{name}', **options)


def _fit(
    backbone: dict[str, Any], strides: tuple[int, ...], neck_input: NeckInput
) -> tuple[dict[str, Any], int]:
    """Chooses the outputs, and how many of the first inputs of the neck are left out.

    A neck that skips its first levels can do without the maps that it skips.
    """
    skips = neck_input.part.get('start_level', 0)
    for skipped in dict.fromkeys((0, skips)):
        fitting = choose_outputs(backbone, strides[skipped:])
        if fitting is not None:
            return _in_order(fitting), skipped
    raise UserError(explain_misfit(backbone, strides, skips, str(neck_input)))


def _trainable(backbone: dict[str, Any]) -> dict[str, Any]:
    """Returns a config in which a backbone without weights trains whole, BatchNorms included."""
    if weights_of(backbone) or 'norm_eval' in backbone or not build(backbone).norm_eval:
        return backbone
    return dict(backbone, frozen_stages=backbone.get('frozen_stages', -1), norm_eval=False)


def _in_order(backbone: dict[str, Any]) -> dict[str, Any]:
    last = {key: backbone[key] for key in ('frozen_stages', 'init_cfg') if key in backbone}
    if last.get('frozen_stages') == -1:
        del last['frozen_stages']
    return {key: value for key, value in backbone.items() if key not in last} | last


def _moved_levels(part: Mapping[str, Any], skipped: int) -> dict[str, int]:
    """Returns the level numbers of a neck whose first inputs are left out."""
    if not skipped:
        return {}
    end = part.get('end_level', -1)
    return dict(start_level=0, **(dict(end_level=end - skipped) if end >= 0 else {}))


def _changes(
    cfg: ConfigType,
    path: parts.Keys,
    backbone: dict[str, Any],
    neck_input: NeckInput,
    inputs: dict[str, Any],
    heads: dict[str, list[int]],
    preprocessing: PreprocessingComparison,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what to write as ``model``, and the whole config that must come of it."""
    expected = copy.deepcopy(cfg)
    detector = value_at(expected['model'], path)
    detector['backbone'] = backbone
    value_at(detector, neck_input.path).update(inputs)
    for name, channels in heads.items():
        detector[name]['in_channels'] = list(channels)
    for keys, options in preprocessing.changes.items():
        value_at(expected['model'], keys).update(options)
    imports = expected.setdefault('custom_imports', {})
    given = imports.get('imports', [])
    given = [given] if isinstance(given, str) else list(given)
    imports['imports'] = given if 'mmblocks' in given else [*given, 'mmblocks']

    key, *deeper = neck_input.path
    # MMEngine merges dicts but replaces lists, which are therefore written whole.
    part = detector[key] if deeper else inputs
    written = {
        **preprocessing.changes,
        (*path, 'backbone'): dict(_delete_=True, **backbone),
        (*path, key): part,
        **{(*path, name): dict(in_channels=list(channels)) for name, channels in heads.items()},
    }
    return nested_dict(written), expected


def _comments(
    path: parts.Keys, backbone: dict[str, Any], neck_input: NeckInput, strides: tuple[int, ...]
) -> dict[parts.Keys, str]:
    *first, last = map(str, strides)
    listed = f'strides {", ".join(first)} and {last}' if first else f'stride {last}'
    comments: dict[parts.Keys, str] = {(*path, neck_input.path[0]): f'For maps of {listed}.'}
    if 'init_cfg' not in backbone:
        learns = ', its BatchNorms too,' if backbone.get('norm_eval') is False else ''
        key = (*path, 'backbone')
        comments[key] = (
            f'Trains from scratch{learns} until an init_cfg names weights to start from.'
        )
    return comments


def _check_head_inputs(
    old: DetectorSummary, new: DetectorSummary, neck_input: NeckInput, channels: list[int] | None
) -> None:
    """Raises if the heads would get other inputs than before, but for changed channels."""
    if old.neck_maps is None:
        return
    expected = old.neck_maps._replace(channels=tuple(channels or old.neck_maps.channels))
    if new.neck_maps is None:
        value = value_at(new.detector, neck_input.path)[neck_input.key]
        raise UserError(
            f'the {neck_input} does not work with {neck_input.key}={value}: {new.neck_error}'
        )
    if new.neck_maps != expected:
        raise UserError(
            f'behind the {neck_input}, the heads expect {expected}, but they would get '
            f'{new.neck_maps}'
        )
