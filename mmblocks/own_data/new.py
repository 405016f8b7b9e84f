"""Writing a config that trains a detector of another one on own data."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mmengine.config import Config
from mmengine.registry import MODELS

from mmblocks.engine import find_config, load_config
from mmblocks.engine.data import class_of
from mmblocks.own_data.boxes import advice, box_sizes, draw_sizes, strides_of
from mmblocks.own_data.edits import Edits
from mmblocks.own_data.heads import set_num_classes
from mmblocks.own_data.image_size import set_image_size, training_scale
from mmblocks.own_data.loaders import (
    Files,
    classes_of_base,
    repeats,
    set_dataset,
    set_evaluator,
    trains_masks,
)
from mmblocks.own_data.palette import palette
from mmblocks.own_data.schedule import set_batch_size, set_length
from mmblocks.own_data.split import Split
from mmblocks.swap import swap_backbone
from mmblocks.swap.detector import find_detector, type_name
from mmblocks.swap.inherit import base_path, check_name, read_again, value_at, without_scopes
from mmblocks.swap.text import Code, written
from mmblocks.utils.errors import UserError
from mmblocks.utils.text import labelled

# The order of the variables in the text; what is not named here comes last.
_ORDER = (
    *('_base_', 'custom_imports', 'data_root', 'metainfo', 'model'),
    *('train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator'),
    *('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'),
)


class Options(NamedTuple):
    """What a user may choose beside the base and the data.

    Attributes:
        backbone: Config of a backbone of mmblocks to swap in; None keeps the base's.
        freeze: How many groups of the base's backbone to freeze; None keeps that.
        weights: Checkpoint of the base's backbone; None keeps that.
        load_from: Checkpoint of the whole detector; None keeps the base's.
        size: Longer side of the images; None for the base's.
        batch_size: Images a batch; None for the base's on one GPU.
        epochs: How long to train; None for the rule of `choose_epochs`.
    """

    backbone: Mapping[str, Any] | None = None
    freeze: int | None = None
    weights: str | None = None
    load_from: str | None = None
    size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None


class NewConfig(NamedTuple):
    """A config for own data, what belongs to it, and messages about it.

    Attributes:
        text: The config.
        report: What was changed, line by line.
        warnings: What may go wrong in training.
        annotations: Annotations to write beside the config, by the names of the files.
        sizes: Sizes of the boxes of each split in training, in pixels.
        strides: Strides of the detector's maps.
    """

    text: str
    report: str
    warnings: list[str]
    annotations: Mapping[str, Mapping[str, Any]]
    sizes: dict[str, list[float]]
    strides: tuple[int, ...]

    def save(self, out: Path) -> list[Path]:
        """Writes the config, its annotations and the picture of the boxes' sizes.

        Args:
            out: The config's file; the others are written beside it.

        Returns:
            The files.

        Raises:
            UserError: One cannot be written.
        """
        picture = out.with_name(f'{out.stem}_boxes.png')
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            for name, content in self.annotations.items():
                (out.parent / name).write_text(json.dumps(content), encoding='utf-8')
            out.write_text(self.text, encoding='utf-8')
            title = 'Sizes of boxes, and strides of the maps that find them'
            draw_sizes(self.sizes, self.strides, title, picture)
        except OSError as error:
            raise UserError(f'{error.filename} cannot be written: {error.strerror}') from error
        return [out, *(out.parent / name for name in self.annotations), picture]


def new_config(
    base: str, train: Split, val: Split, out: Path, options: Options | None = None
) -> NewConfig:
    """Writes a config that trains the detector of another one on own data.

    Set are the classes of every head, the datasets and evaluators, the batch size and with it the
    learning rate, and the length of the training; pipelines and wrappers of datasets stay. MMEngine
    reads the text again, and it must make of it what was intended.

    Args:
        base: Path of an mmdet config, or ``'mmdet::...'``.
        train: What to train on, without fatal findings of `check_split`.
        val: What to evaluate with, likewise; the test data is the same.
        out: Where the config will be saved.
        options: What else is chosen; None for nothing.

    Returns:
        The config's text and what belongs to it. No file is written.

    Raises:
        UserError: The base cannot be turned to such data, or an option does not fit it.
    """
    options = options or Options()
    edits, swapped, warnings = _start(base, out, options)
    masks = trains_masks(edits.cfg)
    parts = dict(classes=[f'{len(train.classes)}: {_some(train.classes)}'])
    parts['classes'] += set_num_classes(edits, len(train.classes), classes_of_base(edits.base))
    files = _files(train, val, out)
    edits.set(('data_root',), files['train'].data_root)
    metainfo = dict(classes=train.classes, palette=palette(len(train.classes)))
    edits.set(('metainfo',), metainfo, comment='In the order of the categories in the files.')
    places = dict(train_dataloader='train', val_dataloader='val', test_dataloader='val')
    parts['data'] = [
        line for key, name in places.items() for line in set_dataset(edits, key, files[name])
    ]
    for key in ('val_evaluator', 'test_evaluator'):
        parts['data'] += set_evaluator(edits, key, files['val'], masks)
    parts['images'] = set_image_size(edits, options.size)
    batch_size, parts['batches'] = set_batch_size(edits, options.batch_size)
    number = len(train.content['images'])
    parts['length'] = set_length(edits, number, repeats(edits.cfg), batch_size, options.epochs)
    parts['weights'] = _weights(edits, base, options)

    scale = training_scale(edits.cfg)
    sizes = {split.name: box_sizes(split, scale) for split in (train, val)}
    strides = strides_of(edits.cfg)
    if small := advice(sizes['train'], strides, scale):
        warnings.append(small)
    detector = value_at(edits.cfg['model'], find_detector(edits.cfg['model']))
    title = f'# {type_name(detector)} for {_some(train.classes)}; mmblocks new wrote this.'
    text = _text(title, edits, base, out)
    annotations = {
        _written_name(split, out): split.content for split in (train, val) if split.changes
    }
    report = '\n'.join([*swapped, labelled(parts)])
    return NewConfig(text, report, warnings, annotations, sizes, strides)


def _start(base: str, out: Path, options: Options) -> tuple[Edits, list[str], list[str]]:
    """Returns the base with its backbone swapped or changed, lines about that, and warnings."""
    if options.backbone is not None:
        swap = swap_backbone(base, options.backbone, out.parent)
        # The option that gives weights has another name there.
        warnings = [line.replace('--checkpoint', '--weights') for line in swap.warnings]
        return Edits(swap.cfg, swap.overrides, swap.comments), [swap.report], warnings
    cfg: dict[str, Any] = without_scopes(load_config(base).to_dict())
    check_name(base)
    edits = Edits(cfg)
    try:
        path = ('model', *find_detector(cfg['model']), 'backbone')
    except UserError as error:  # there is no option that says which of several it is
        raise UserError(str(error).partition('; say which')[0]) from error
    parts = dict(base=[f'{base} ({type_name(value_at(cfg, path[:-1]))})'])
    if options.freeze is not None:
        kind = class_of(value_at(cfg, path), MODELS, Config(cfg))
        if kind is None or 'frozen_stages' not in inspect.signature(kind).parameters:
            name = type_name(value_at(cfg, path))
            raise UserError(f'--freeze: the backbone {name} of the base has no frozen_stages')
        edits.set((*path, 'frozen_stages'), options.freeze)
        parts['frozen'] = [f'frozen_stages={options.freeze}']
    if options.weights is not None:
        init_cfg = dict(type='Pretrained', checkpoint=options.weights)
        edits.set((*path, 'init_cfg'), init_cfg)
    return edits, [labelled(parts)], []


def _weights(edits: Edits, base: str, options: Options) -> list[str]:
    """Sets the checkpoint of the whole detector, and returns lines about that."""
    if options.load_from is not None:
        edits.set(('load_from',), options.load_from)
    if given := edits.cfg.get('load_from'):
        of_base = '' if options.load_from else ', as in the base'
        return [f'load_from={given}{of_base}; heads for other classes begin anew']
    published = None if options.backbone is not None else _published(base)
    if published is None:
        return []
    return ['of the backbone alone; to begin with what the detector learnt on COCO:', published]


def _published(base: str) -> str | None:
    """Returns the option for the weights that mmdet publishes of a config of its own."""
    path = find_config(base)
    metafile = path.parent / 'metafile.yml'
    if not metafile.is_file():
        return None
    try:
        content = yaml.safe_load(metafile.read_text(encoding='utf-8'))
        models = content['Models'] if isinstance(content, dict) else content
        urls = {Path(model['Config']).name: model.get('Weights') for model in models}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None  # an index of somebody else's, of which only this hint depends
    url = urls.get(path.name)
    return f'--load-from {url}' if url else None


def _files(train: Split, val: Split, out: Path) -> dict[str, Files]:
    """Returns where the datasets read from, with the longest common beginning as data_root."""
    paths = {
        split.name: (
            out.parent / _written_name(split, out) if split.changes else split.source,
            split.folder,
        )
        for split in (train, val)
    }
    every = [path for pair in paths.values() for path in pair]
    if len({path.is_absolute() for path in every}) > 1:
        paths = {name: (a.absolute(), b.absolute()) for name, (a, b) in paths.items()}
        every = [path for pair in paths.values() for path in pair]
    root = os.path.commonpath([os.path.normpath(path) for path in every])
    found = {}
    for name, (file, images) in paths.items():
        ann_file = Path(os.path.relpath(file, root or '.')).as_posix()
        folder = Path(os.path.relpath(images, root or '.')).as_posix()
        prefix = '' if folder == '.' else f'{folder}/'
        found[name] = Files(ann_file, prefix, f'{Path(root).as_posix()}/' if root else '')
    return found


def _written_name(split: Split, out: Path) -> str:
    return f'{out.stem}_{split.name}.json'


def _text(title: str, edits: Edits, base: str, out: Path) -> str:
    """Returns the text of the config, after MMEngine has read it as intended."""
    overrides = edits.overrides()
    for part in ('dataloader', 'evaluator'):
        after, before = f'test_{part}', f'val_{part}'
        if after in overrides and overrides[after] == overrides.get(before):
            overrides[after] = Code(before)
    order = {name: i for i, name in enumerate(_ORDER)}

    def text(path: str) -> str:
        variables = dict(_base_=path, **overrides)
        names = sorted(variables, key=lambda name: order.get(name, len(order)))
        return written(title, {name: variables[name] for name in names}, edits.comments)

    result = read_again(text(base_path(base)), base)
    if result != edits.cfg:
        different = [
            key for key in result.keys() | edits.cfg if result.get(key) != edits.cfg.get(key)
        ]
        raise RuntimeError(f'{base} would become something else than intended: {different}')
    return text(base_path(base, out.parent))


def _some(names: tuple[str, ...]) -> str:
    return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
