"""The configs that come with the package: they build, train, and name the weights they should."""

import copy
import functools
import json
import re
from pathlib import Path
from unittest import mock

import mmengine
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

import mmblocks
from mmblocks.describe.catalog import build_on_meta
from mmblocks.engine import find_config
from mmblocks.swap import report, swap_backbone
from mmblocks.weights.preprocessing import known_preprocessing
from tests.backbones.nets import NETS
from tests.detecting import assert_it_trains, batch, build_detector

ROOT = Path(__file__).resolve().parents[1] / 'configs'
COCO = sorted((ROOT / 'coco').rglob('*.py'))
DIGITS = [path for path in sorted((ROOT / 'digits').glob('*.py')) if 'cls' not in path.stem]
# Their nets have no map of stride 4, so their heads start at another stride than the base's.
WITH_OWN_STRIDES = {
    'faster-rcnn_shufflenetv1_fpn_1x_coco.py',
    'faster-rcnn_shufflenetv2_fpn_1x_coco.py',
}

every_config = pytest.mark.parametrize('path', [*COCO, *DIGITS], ids=lambda path: path.stem)
every_coco_config = pytest.mark.parametrize('path', COCO, ids=lambda path: path.stem)


@functools.cache
def read(path):
    return Config.fromfile(path)


def own_text(path):
    """What a config says itself, without its base."""
    names = {}
    exec(path.read_text(), names)
    return {name: value for name, value in names.items() if name != '__builtins__'}


@functools.cache
def read_base(name):
    return Config.fromfile(find_config(name))


def nets_in(paths, pattern):
    types = (own_text(p)['model']['backbone']['type'] for p in paths if re.match(pattern, p.name))
    return {type_.removeprefix('mmblocks.') for type_ in types}


def strides(net):
    maps = mmblocks.feature_info(dict(net.cfg, out_indices=range(net.num_outputs)))
    return {info.stride for info in maps}


def test_every_net_has_its_configs():
    every = set(mmblocks.list_backbones())
    pyramids = {net.cfg['type'] for net in NETS if 32 in strides(net)}
    assert nets_in(COCO, 'retinanet_') == pyramids
    assert nets_in(COCO, 'faster-rcnn_') == pyramids
    assert nets_in(COCO, 'mask-rcnn_') == {'ResNet', 'MobileNetV3'}
    assert nets_in(DIGITS, 'retinanet_') == every


def to_train():
    """The digits' configs; of those that the tool writes, one of each detector; and the others."""
    first = {path.parent: path for path in reversed(COCO) if path.name not in WITH_OWN_STRIDES}
    others = [path for path in COCO if path.name in WITH_OWN_STRIDES]
    return [*DIGITS, *first.values(), *others]


@pytest.mark.parametrize('path', to_train(), ids=lambda path: path.stem)
def test_it_builds_and_trains_a_step(path, mmdet_models):
    cfg = copy.deepcopy(read(path))
    model = build_detector(cfg, mmdet_models)
    assert type(model.backbone).__module__.startswith('mmblocks.')
    roi_head = cfg.model.get('roi_head', {})
    head = roi_head.get('bbox_head') or cfg.model.bbox_head
    data = batch(head.num_classes, 'mask_head' in roi_head, shapes=[(3, 64, 64), (3, 60, 64)])
    assert_it_trains(model, data)


@every_config
def test_the_neck_takes_what_the_backbone_gives(path):
    cfg = read(path).model
    channels, strides = zip(*mmblocks.feature_info(cfg.backbone), strict=True)
    assert tuple(cfg.neck.in_channels) == channels
    first = strides[cfg.neck.get('start_level', 0)]
    head = cfg.get('rpn_head') or cfg.bbox_head
    assert head.anchor_generator.strides == [first * 2**i for i in range(cfg.neck.num_outs)]


@every_config
def test_a_net_without_weights_learns_all_of_itself(path):
    options = read(path).model.backbone
    if 'init_cfg' not in options:
        backbone = build_on_meta(options)
        assert (backbone.norm_eval, backbone.frozen_stages) == (False, -1)


@every_coco_config
def test_a_coco_config_changes_nothing_but_backbone_neck_and_weights(path):
    own = own_text(path)
    assert own.keys() == {'_base_', 'custom_imports', 'model'}
    assert own['_base_'].startswith('mmdet::')
    assert own['custom_imports'] == dict(imports=['mmblocks'])
    heads = {'rpn_head', 'roi_head'} if path.name in WITH_OWN_STRIDES else set()
    images = {'data_preprocessor'} & own['model'].keys()
    assert own['model'].keys() == {'backbone', 'neck', *heads, *images}
    assert own['model']['neck'].keys() <= {'in_channels', 'start_level'}


@every_coco_config
def test_images_change_where_the_weights_take_others_than_the_base_gives(path):
    base = read_base(own_text(path)['_base_']).model.data_preprocessor
    takes = known_preprocessing(weights(path)['checkpoint']).as_options() if weights(path) else {}
    changed = {key: value for key, value in takes.items() if base[key] != value}
    assert own_text(path)['model'].get('data_preprocessor') == (takes if changed else None)
    assert bool(changed) == ('googlenet' in path.name)


@pytest.fixture(scope='module')
def measured_once():
    """Lets the tool run each base's detector once and not anew for every net."""
    measured = {}

    def measure(detector, cfg):
        key = str(detector)
        if key not in measured:
            measured[key] = report.measure(detector, cfg)
        return measured[key]

    with mock.patch('mmblocks.swap.swap.measure', measure):
        yield


@pytest.mark.usefixtures('measured_once')
@pytest.mark.parametrize(
    'path', [p for p in COCO if p.name not in WITH_OWN_STRIDES], ids=lambda path: path.stem
)
def test_a_coco_config_is_what_the_tool_writes(path):
    own = own_text(path)
    backbone = {key: v for key, v in own['model']['backbone'].items() if key != '_delete_'}
    assert swap_backbone(own['_base_'], backbone).text == path.read_text()


@pytest.mark.parametrize('name', sorted(WITH_OWN_STRIDES))
def test_heads_that_start_at_stride_8_keep_the_sizes_of_anchors_and_regions(name):
    path = ROOT / 'coco' / 'faster_rcnn' / name
    new, old = read(path).model, read_base(own_text(path)['_base_']).model

    def sizes(model):
        generator = model.rpn_head.anchor_generator
        return [stride * generator.scales[0] for stride in generator.strides]

    def stride_for(model, size):
        """The stride of the map from which the RoI extractor takes a region of this size."""
        with DefaultScope.overwrite_default_scope('mmdet'):
            extractor = MODELS.build(model.roi_head.bbox_roi_extractor)
        rois = torch.tensor([[0.0, 0.0, 0.0, size, size]])
        level = extractor.map_roi_levels(rois, extractor.num_inputs)
        return extractor.featmap_strides[int(level)]

    assert sizes(new) == sizes(old)
    for size in (20, 100, 120, 200, 240, 430, 460, 2000):
        assert stride_for(new, size) == max(8, stride_for(old, size))


def weights(path):
    return own_text(path)['model']['backbone'].get('init_cfg')


@every_coco_config
def test_frozen_is_what_has_weights(path):
    backbone = own_text(path)['model']['backbone']
    assert backbone.get('frozen_stages') == (1 if weights(path) else None)


# The configs of a net share their weights, since the tool writes both.
FOR_EACH_CHECKPOINT = {init['checkpoint']: path for path in COCO if (init := weights(path))}


@pytest.mark.parametrize('path', FOR_EACH_CHECKPOINT.values(), ids=lambda path: path.stem)
def test_the_weights_have_a_place_for_every_tensor_of_the_backbone(path, peer):
    """Their keys, as the peer's own net has them, give all of ours and no others."""
    init_cfg = weights(path)
    if name := re.fullmatch(r'torchvision://(\w+\.?\d?)', init_cfg['checkpoint']):
        assert name[1] in torchvision_names()
        theirs = torchvision_net(peer, name[1])
    elif name := re.fullmatch(r'timm://(\w+)', init_cfg['checkpoint']):
        assert peer('timm').is_model_pretrained(name[1])
        with torch.device('meta'):
            theirs = peer('timm').create_model(name[1])
    else:
        theirs = mmpretrain_net(peer, init_cfg['checkpoint'])
    prefix = init_cfg.get('prefix', '')
    state_dict = {
        key.removeprefix(prefix): value
        for key, value in theirs.state_dict().items()
        if key.startswith(prefix)
    }
    model = read(path).model
    ours = build_on_meta(model.backbone)
    missing, unexpected = ours.load_state_dict(state_dict, strict=False, assign=True)
    assert missing == []
    # The 1x1 convolution behind the last output is not built.
    unbuilt = dict(ShuffleNetV2='layers.3.', EfficientNet='layers.6.')
    prefix = unbuilt.get(type(ours).__name__, 'none')
    assert [key for key in unexpected if not key.startswith(prefix)] == []
    images = known_preprocessing(init_cfg['checkpoint']).as_options()
    assert {key: model.data_preprocessor[key] for key in images} == images


def torchvision_names():
    """The names behind ``torchvision://`` that MMEngine knows with every torchvision."""
    return json.loads(Path(mmengine.__path__[0], 'hub', 'torchvision_0.12.json').read_text())


def torchvision_net(peer, name):
    builder = name.replace('shufflenetv2', 'shufflenet_v2').replace('.', '_')
    with torch.device('meta'):
        return peer('torchvision.models').get_model(builder)


def mmpretrain_net(peer, url):
    """Builds the model whose published weights have this address."""
    folder = Path(peer('mmpretrain').__path__[0], '.mim')
    for metafile in folder.glob('configs/*/metafile.yml'):
        if (entry := entry_of(metafile.read_text(), url)) is not None:
            cfg = Config.fromfile(folder / entry)
            peer('mmpretrain.models')
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                return MODELS.build(cfg.model)
    pytest.fail(f'mmpretrain lists no weights at {url}')


def entry_of(metafile, url):
    """The config that a metafile names together with these weights."""
    for model in yaml.safe_load(metafile).get('Models', []):
        if model.get('Weights') == url:
            return model['Config']
    return None
