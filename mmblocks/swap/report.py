"""Saying what a swap of the backbone has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmblocks.swap.detector import NeckInput, dotted, head_strides, necks, type_name
from mmblocks.swap.preprocessing import PreprocessingComparison
from mmblocks.swap.probe import Maps, probe
from mmblocks.swap.text import inline
from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError, first_line
from mmblocks.utils.text import joined, labelled
from mmblocks.weights.preprocessing import CAFFE


class DetectorSummary(NamedTuple):
    """A detector, before or after the swap.

    Attributes:
        detector: Its config.
        maps: The backbone's outputs.
        parameters: How many parameters the backbone has.
        frozen: How many of them get no gradient.
        norm_eval: Whether the backbone keeps its BatchNorms in eval mode.
        neck_maps: The neck's outputs; None if it could not be run, or there is none.
        neck_error: Why the neck could not be run.
    """

    detector: Mapping[str, Any]
    maps: Maps
    parameters: int
    frozen: int
    norm_eval: bool
    neck_maps: Maps | None
    neck_error: str = ''


class Change(NamedTuple):
    """A detector before and after the swap, and what was written for it.

    Attributes:
        base: The base, as the user named it.
        cfg: The base's whole config.
        old: The detector before.
        new: The detector after.
        neck_input: The part that the backbone feeds.
        inputs: The arguments of it that changed, with their new values.
        heads: The new ``in_channels`` of the heads where they changed.
        preprocessing: How images are preprocessed, before and after.
    """

    base: str
    cfg: Mapping[str, Any]
    old: DetectorSummary
    new: DetectorSummary
    neck_input: NeckInput
    inputs: Mapping[str, Any]
    heads: Mapping[str, Sequence[int]]
    preprocessing: PreprocessingComparison


def measure(detector: Mapping[str, Any], cfg: Mapping[str, Any]) -> DetectorSummary:
    """Runs a picture through the backbone and the neck of a detector.

    Args:
        detector: The detector's config.
        cfg: The whole config that holds it.

    Raises:
        UserError: The backbone cannot be built or run.
    """
    scope = cfg.get('default_scope') or 'mmdet'
    chain = [part for _, part in necks(detector)]
    found, error = probe([detector['backbone'], *chain], scope)
    if error is not None and not found:
        raise UserError(
            f'the backbone {type_name(detector["backbone"])} cannot be run: {first_line(error)}'
        ) from error
    backbone, *neck = found
    if error is not None:
        return DetectorSummary(detector, *backbone, None, first_line(error))
    return DetectorSummary(detector, *backbone, neck[-1].maps if neck else None)


def report(change: Change) -> str:
    """Returns what was changed, one line or a few per part of the config."""
    old, new, fed = change.old, change.new, change.neck_input
    inputs = ', '.join(f'{k} {fed.part.get(k)} -> {v}' for k, v in change.inputs.items())
    parts = {
        'base': [f'{change.base} ({type_name(old.detector)})'],
        'backbone': [_call(old.detector['backbone']), f'-> {_call(new.detector["backbone"])}'],
        'channels': [f'{joined(old.maps.channels)} -> {joined(new.maps.channels)}'],
        'strides': [_strides(old.maps.strides, new.maps.strides)],
        str(fed.path[0]): [f'{type_name(fed.part)}: {inputs}', *_neck_maps(change)],
        'heads': [*_changed_heads(change), *_heads(new)],
        'parameters': [f'{_millions(old.parameters)} -> {_millions(new.parameters)} (backbone)'],
        'frozen': [f'{_frozen(new)}, was {_frozen(old)}'],
        'norm_eval': [f'{new.norm_eval}, was {old.norm_eval}'] * (new.norm_eval != old.norm_eval),
        'weights': [f'{_weights(new)}, was {_weights(old)}'],
        'images': change.preprocessing.report(),
    }
    return labelled(parts)


def warnings(change: Change) -> list[str]:
    """Returns what may go wrong in training if nothing else is changed."""
    found = []
    load_from = change.cfg.get('load_from')
    if change.new.frozen and not weights_of(change.new.detector['backbone']):
        found.append(
            f'{change.new.frozen:,} parameters are frozen at random values; give weights with '
            '--checkpoint'
        )
    if change.new.norm_eval and not weights_of(change.new.detector['backbone']):
        found.append(
            'norm_eval=True without weights: the BatchNorms stay in eval mode and learn no '
            'statistics; give weights with --checkpoint, or norm_eval=False'
        )
    if load_from:
        found.append(f'load_from={load_from!r} of the base holds weights of the old backbone')
    if warning := change.preprocessing.warning():
        found.append(warning)
    backbone = change.new.detector['backbone']
    name = type_name(backbone).rpartition('.')[2]
    # The keys are the same; only the images tell whose convention the weights follow.
    from_caffe = change.preprocessing.expected == CAFFE and name in ('ResNet', 'ResNeXt')
    if from_caffe and backbone.get('depth') not in (18, 34) and backbone.get('style') != 'caffe':
        found.append(
            f'{change.preprocessing.checkpoint} has its strides in the 1x1 convolutions, as '
            "style='caffe' builds the net: --backbone-options style=caffe"
        )
    optim_wrapper = change.cfg.get('optim_wrapper') or {}
    if constructor := optim_wrapper.get('constructor'):
        found.append(
            f'optim_wrapper.constructor={constructor!r} of the base may know the names of the old '
            'backbone only'
        )
    return found


def _neck_maps(change: Change) -> list[str]:
    new = change.new
    if new.neck_maps is not None:
        return [f'gives {new.neck_maps}' + ('' if change.heads else ', unchanged')]
    if new.neck_error:
        return [f'was not run, so what it gives is not checked: {new.neck_error}']
    return []


def _changed_heads(change: Change) -> list[str]:
    heads = change.old.detector
    return [
        f'{key}.in_channels {joined(heads[key]["in_channels"])} -> {joined(channels)}'
        for key, channels in change.heads.items()
    ]


def _heads(new: DetectorSummary) -> list[str]:
    maps = new.neck_maps or new.maps
    lines = []
    for entry in head_strides(new.detector):
        text = f'{dotted(entry.path)} {joined(entry.values)}: unchanged'
        if not new.neck_error:
            fits = entry.fit(maps.strides)
            text += ', fits the maps' if fits else ', not the strides of the maps, as in the base'
        lines.append(text)
    return lines or ['unchanged; they name no strides']


def _strides(old: tuple[int, ...], new: tuple[int, ...]) -> str:
    if old == new:
        return f'{joined(new)}, unchanged'
    return f'{joined(old)} -> {joined(new)}; the neck did not use the others'


def _frozen(summary: DetectorSummary) -> str:
    if not summary.frozen:
        return 'nothing'
    stages = summary.detector['backbone'].get('frozen_stages', -1)
    return f'{summary.frozen:,} parameters' + (f' (frozen_stages={stages})' if stages >= 0 else '')


def _weights(summary: DetectorSummary) -> str:
    return weights_of(summary.detector['backbone']) or 'none'


def weights_of(backbone: Mapping[str, Any]) -> str:
    """Returns the checkpoint that a backbone's config starts from, or an empty string."""
    init_cfg = backbone.get('init_cfg') or []
    for entry in init_cfg if isinstance(init_cfg, (list, tuple)) else [init_cfg]:
        if class_name(entry) in ('Pretrained', 'PretrainedInit'):
            return str(entry.get('checkpoint'))
    return ''


def _call(part: Mapping[str, Any]) -> str:
    options = {key: value for key, value in part.items() if key not in ('type', 'init_cfg')}
    return f'{type_name(part)}({", ".join(f"{k}={inline(v)}" for k, v in options.items())})'


def _millions(count: int) -> str:
    return f'{count / 1e6:.2f} M'
