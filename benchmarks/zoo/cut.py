"""Cutting the config of a model small, and leaving out what it would download."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from benchmarks.zoo.configs import ROOT
from benchmarks.zoo.inputs import SIZE
from mmblocks.utils.types import ConfigType

# Fewer layers of the same kind and with the same channels, so that necks and heads stay.
_BACKBONES: dict[str, dict[str, Any]] = {
    'CSPDarknet': dict(deepen_factor=0.33),
    'CSPNeXt': dict(deepen_factor=0.167),
    'PyramidVisionTransformer': dict(num_layers=[1, 1, 1, 1]),
    'PyramidVisionTransformerV2': dict(num_layers=[1, 1, 1, 1]),
    'ResNeXt': dict(groups=32, base_width=4),
}
# What a data preprocessor makes of a batch of images.
_BATCH_SIZES: dict[str, dict[str, Any]] = {
    'BatchFixedSizePad': dict(size=(SIZE, SIZE)),
    'BatchResize': dict(scale=(SIZE, SIZE)),
    'BatchSyncRandomResize': dict(random_size_range=(SIZE - 32, SIZE + 32)),
}
_DEEPEST_RESNET = 50
# Weights; activation checkpointing and a RoIAlign for which mmdet asks for another package.
_LEFT_OUT = ('pretrained', 'teacher_ckpt', 'num_cp', 'use_torchvision')
# An untrained net has low scores; nothing that it finds would pass.
_THRESHOLDS = ('score_thr', 'filter_thr', 'conf_thr')
# Boxes, samples, queries, and the 13,204 classes of V3Det.
_AT_MOST = {
    'max_per_img': 10,
    'max_per_image': 10,
    'nms_pre': 100,
    'num': 16,
    'num_points': 1024,
    'num_queries': 50,
    'num_proposals': 10,
    'num_classes': 1300,
}


def cut(model: ConfigType, language_model: Path) -> dict[str, Any]:
    """Returns the config of a model with a small backbone, few boxes and nothing to download.

    Args:
        model: The config; it is not changed.
        language_model: Folder of the BERT that stands in for the one that a model names.
    """
    model = copy.deepcopy(model)
    teacher = model.get('teacher_config')
    if isinstance(teacher, str):  # a path from mmdet's repository
        model['teacher_config'] = dict(model=Config.fromfile(ROOT / teacher).model.to_dict())
    for part in _parts(model):
        for key in [key for key in part if key in _LEFT_OUT or _is_pretrained(key, part[key])]:
            del part[key]
        if 'checkpoint' in part:
            part['checkpoint'] = None
        part.update({k: min(part[k], most) for k, most in _AT_MOST.items() if _is_count(part, k)})
        part.update({key: 0.0 for key in _THRESHOLDS if isinstance(part.get(key), float)})
        if isinstance(part.get('backbone'), dict):
            _cut_backbone(part['backbone'])
        if part.get('type') == 'MMSyncBN':
            part['type'] = 'SyncBN'
        part.update(_BATCH_SIZES.get(str(part.get('type')), {}))
        if 'lang_model_name' in part:
            part['lang_model_name'] = str(language_model)
        if part.get('type') == 'BertModel':
            part['name'] = str(language_model)
    return model


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    """Returns the dicts of a config, itself included; a dict may be changed when it comes."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, (dict, list, tuple)):
            yield from _parts(inner)


def _is_pretrained(key: str, value: Any) -> bool:
    return key == 'init_cfg' and isinstance(value, dict) and 'checkpoint' in value


def _is_count(part: dict[str, Any], key: str) -> bool:
    return type(part.get(key)) is int and part[key] > 0


def _cut_backbone(backbone: dict[str, Any]) -> None:
    name = str(backbone.get('type')).rpartition('.')[2]
    if 'Res' in name and 'depth' in backbone:  # ResNet, ResNeXt, ResNeSt, Res2Net, ...
        backbone['depth'] = min(backbone['depth'], _DEEPEST_RESNET)
    if name == 'SwinTransformer':
        backbone.update(depths=[1] * len(backbone['depths']), with_cp=False)
    if name == 'HRNet':
        for stage in backbone['extra'].values():
            stage.update(num_modules=1, num_blocks=(1,) * stage['num_branches'])
    backbone.update(_BACKBONES.get(name, {}))
