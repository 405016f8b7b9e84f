"""What images weights were trained on, held against those who trained them."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import mmdet
import mmengine
import pytest
import torch
import yaml
from mmengine.config import Config

from mmblocks.weights.preprocessing import (
    CAFFE,
    IMAGENET,
    IMAGENET_BGR,
    INCEPTION,
    Preprocessing,
    known_preprocessing,
    normalizes_in_pipeline,
)

HUB = Path(mmengine.__path__[0], 'hub')
MMDET = Path(mmdet.__path__[0], '.mim')
# Where mmdet 3.3 gives a backbone other images than its weights were trained on.
SLIPS = {
    # These inherit the images of a base with another backbone; the second even names the right
    # ones, in an img_norm_cfg as mmdet 2 had it, which nothing reads any more.
    'faster_rcnn/faster-rcnn_r101-caffe_fpn_ms-3x_coco.py',
    'guided_anchoring/ga-fast-rcnn_r50-caffe_fpn_1x_coco.py',
    *(f'regnet/mask-rcnn_regnetx-{size}_fpn_ms-poly-3x_coco.py' for size in ('400MF', '800MF')),
    *(f'regnet/mask-rcnn_regnetx-{size}_fpn_ms-poly-3x_coco.py' for size in ('1.6GF', '4GF')),
    # These say so themselves. All others with the same weights get RGB images.
    'hrnet/fcos_hrnetv2p-w32-gn-head_4xb4-1x_coco.py',
    'crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman.py',
}


def images_of(part):
    """What a data preprocessor's config gives, in mmdet's or in mmpretrain's words."""
    turned = part.get('bgr_to_rgb', part.get('to_rgb'))
    return Preprocessing.of(part.get('mean'), part.get('std'), turned)


def models_in(folder):
    """The models of mmdet's configs that name a checkpoint.

    Of a config that says both itself, only what it says is read, which is quick; of those with
    weights that take BGR images, the bases too.
    """
    for path in sorted(folder.rglob('*.py')):
        text = path.read_text()
        if 'checkpoint' not in text or 'read_base' in text:
            continue
        model = {}
        if 'data_preprocessor' in text and '_base_.' not in text:
            names = {}
            exec(text, names)
            model = names.get('model', {})
        elif re.search(r'open-mmlab://(\S*_caffe|regnetx)', text):
            model = Config.fromfile(path).model.to_dict()
        yield path.relative_to(folder).as_posix(), model


def detectors_in(model):
    if isinstance(model, dict):
        if isinstance(model.get('backbone'), dict) and 'data_preprocessor' in model:
            yield model
        for inner in model.values():
            yield from detectors_in(inner)


def checkpoints_of(backbone):
    given = backbone.get('init_cfg') or []
    return [
        entry.get('checkpoint', '') for entry in ([given] if isinstance(given, dict) else given)
    ]


def test_mmdets_configs_give_these_backbones_the_same_images():
    told, differing = set(), set()
    for path, model in models_in(MMDET / 'configs'):
        for detector in detectors_in(model):
            part = detector['data_preprocessor']
            for checkpoint in checkpoints_of(detector['backbone']):
                known = known_preprocessing(checkpoint)
                if known is None or 'mean' not in part:
                    continue
                told.add(checkpoint)
                if not known.agrees_with(images_of(part)):
                    differing.add(path)
    assert differing == SLIPS
    assert len(told) >= 20
    assert {'open-mmlab://detectron/resnet50_caffe', 'open-mmlab://regnetx_3.2gf'} <= told
    assert {'open-mmlab://detectron2/resnet50_caffe', 'open-mmlab://vgg16_caffe'} <= told


def weights_in(root, family):
    """The weights that a metafile lists, and the images that their config gives."""
    metafile = yaml.safe_load((root / 'configs' / family / 'metafile.yml').read_text())
    entries = [e for e in metafile['Models'] if e.get('Weights') and e.get('Config')]
    # Few enough to read; the first and the last are the least alike.
    for entry in {e['Weights']: e for e in (entries[0], entries[-1])}.values():
        cfg = Config.fromfile(root / entry['Config'])
        part = cfg.model.get('data_preprocessor') or {}
        yield (
            entry['Weights'],
            images_of(part if 'mean' in part else cfg.get('data_preprocessor', part)),
        )


@pytest.mark.parametrize(
    'family',
    [
        'cspnet',
        'densenet',
        'efficientnet',
        'mobilenet_v2',
        'mobilenet_v3',
        'regnet',
        'resnet',
        'resnext',
        'seresnet',
        'shufflenet_v1',
        'shufflenet_v2',
        'vgg',
    ],
)
def test_mmpretrains_configs_say_the_same_of_its_weights(family, peer):
    root = Path(peer('mmpretrain').__path__[0], '.mim')
    for address, images in weights_in(root, family):
        known = known_preprocessing(address)
        assert known is None if 'cifar' in address else known.agrees_with(images), address


@pytest.mark.parametrize('family', ['fcos', 'gn', 'regnet', 'resnet_strikes_back', 'ssd', 'yolo'])
def test_mmdets_configs_say_the_same_of_its_detectors(family):
    for address, images in weights_in(MMDET, family):
        known = known_preprocessing(address)
        assert known is None or known.agrees_with(images), address


def test_yolox_takes_images_as_they_are():
    ((address, images), *_) = weights_in(MMDET, 'yolox')
    assert known_preprocessing(address) == images == Preprocessing((0,) * 3, (1,) * 3, False)


def test_torchvision_says_the_same_of_its_weights(peer):
    models = peer('torchvision.models')
    seen = set()
    for name in models.list_models(models):
        for weights in models.get_model_weights(name):
            transforms = weights.transforms()
            mean, std = ([255 * v for v in values] for values in (transforms.mean, transforms.std))
            images = Preprocessing.of(mean, std, True)
            if name in ('googlenet', 'inception_v3'):
                images = INCEPTION
            kind = type(weights).__name__.removesuffix('_Weights').lower()
            for address in (weights.url, f'torchvision://{kind}.{weights.name.lower()}'):
                assert known_preprocessing(address).agrees_with(images), address
                seen.add(address)
    assert len(seen) > 200


@pytest.mark.parametrize(
    ('module', 'net'), [('googlenet', 'GoogLeNet'), ('inception', 'Inception3')]
)
def test_torchvisions_net_transforms_the_input_to_that(module, net, peer):
    theirs = getattr(peer(f'torchvision.models.{module}'), net)
    rgb = torch.randint(0, 256, (1, 3, 5, 5)).double()

    def normalized(images):
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (images.mean, images.std))
        return (rgb - mean) / std

    switched_on = SimpleNamespace(transform_input=True)
    torch.testing.assert_close(
        theirs._transform_input(switched_on, normalized(IMAGENET)), normalized(INCEPTION)
    )


@pytest.mark.parametrize(
    ('name', 'mean'),
    [
        ('resnet50.a1_in1k', 123.675),
        ('mobilenetv3_large_100', 123.675),
        ('tf_mobilenetv3_large_100.in1k', 127.5),
        ('mobilenetv1_100.ra4_e3600_r224_in1k', 127.5),
        ('resnet50_clip.openai', 122.7709),
    ],
)
def test_timm_is_asked(name, mean, peer):
    theirs = peer('timm').get_pretrained_cfg(name)
    known = known_preprocessing(f'timm://{name}')
    assert known.bgr_to_rgb
    assert known.mean == pytest.approx([255 * value for value in theirs.mean])
    assert known.std == pytest.approx([255 * value for value in theirs.std])
    assert known.mean[0] == pytest.approx(mean, abs=1e-3)
    file = f'https://huggingface.co/timm/{name}/resolve/main/model.safetensors'
    assert known_preprocessing(file) == known


def test_what_timm_does_not_know_is_not_known(peer):
    peer('timm')
    assert known_preprocessing('timm://resnet51') is None
    assert known_preprocessing('timm://resnet50.no_such_tag') is None
    assert known_preprocessing('timm://hf-hub:someone/resnet50') is None


def test_without_timm_the_same_is_known_or_nothing(peer, monkeypatch):
    timm = peer('timm')
    names = timm.list_pretrained()
    names += [name for name in timm.list_models() if timm.is_model_pretrained(name)]
    theirs = {name: known_preprocessing(f'timm://{name}') for name in names}
    monkeypatch.setitem(sys.modules, 'timm', None)
    ours = {name: known_preprocessing(f'timm://{name}') for name in names}
    told = {name for name, images in ours.items() if images is not None}
    assert [name for name in told if not ours[name].agrees_with(theirs[name])] == []
    assert len(told) > 250
    assert {'mobilenetv1_100', 'legacy_seresnet50', 'resnet18d.ra4_e3600_r224_in1k'} <= told


@pytest.mark.parametrize(
    ('hub', 'scheme'),
    [
        ('openmmlab', 'open-mmlab'),
        ('openmmlab', 'openmmlab'),
        ('mmcls', 'mmcls'),
        ('torchvision_0.12', 'torchvision'),
        ('torchvision_0.12', 'modelzoo'),
    ],
)
def test_weights_are_known_by_name_by_address_and_as_a_file(hub, scheme):
    told = 0
    for name, address in json.loads((HUB / f'{hub}.json').read_text()).items():
        if address is None:
            continue
        known = known_preprocessing(f'{scheme}://{name}')
        assert known_preprocessing(address) == known, address
        if '-' in address.rpartition('/')[2]:
            assert known_preprocessing('/data/' + address.rpartition('/')[2]) == known, address
        told += known is not None
    assert told > 25


@pytest.mark.parametrize(
    ('checkpoint', 'expected'),
    [
        ('torchvision://resnet50', IMAGENET),
        ('torchvision://googlenet', INCEPTION),
        ('http://download.pytorch.org/models/resnet50-19c8e357.pth', IMAGENET),
        ('checkpoints/googlenet-1378be20.pth', INCEPTION),
        ('open-mmlab://resnet50_caffe', CAFFE),
        ('open-mmlab://detectron2/resnet50_caffe', CAFFE),
        ('checkpoints/resnet50_msra-5891d200.pth', CAFFE),
        ('open-mmlab://detectron2/resnext101_32x8d', IMAGENET_BGR),
        (
            'https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/R-50.pkl',
            CAFFE,
        ),
        (
            'https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/'
            'faster_rcnn_X_101_32x8d_FPN_3x/139173657/model_final_68b088.pkl',
            IMAGENET_BGR,
        ),
    ],
)
def test_a_source_is_known(checkpoint, expected):
    assert known_preprocessing(checkpoint) == expected


@pytest.mark.parametrize(
    'checkpoint',
    [
        'x.pth',
        'resnet50.pth',
        'work_dirs/torchvision/epoch_12.pth',
        'https://example.com/resnet50-0676ba61-mine.pth',
        'open-mmlab://kin400/i3d_r50_f32s2_k400',
        'mmcls://no_such_net',
        's3://bucket/googlenet.pth',
    ],
)
def test_of_other_sources_nothing_is_claimed(checkpoint):
    assert known_preprocessing(checkpoint) is None


@pytest.mark.parametrize('in_channels', [1, 4])
def test_of_images_of_other_channels_nothing_is_claimed(in_channels):
    assert known_preprocessing('torchvision://resnet50', in_channels) is None


@pytest.mark.parametrize(
    ('mean', 'std', 'bgr_to_rgb', 'agrees'),
    [
        ([123.68, 116.779, 103.939], [58.393, 57.12, 57.375], True, True),
        ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375], False, False),
        ([103.53, 116.28, 123.675], [58.395, 57.12, 57.375], True, False),
        ([123.675, 116.28, 103.53], [1.0, 1.0, 1.0], True, False),
        ([127.5], [127.5], True, False),
        (None, None, True, False),
    ],
)
def test_rounding_is_no_difference_and_all_else_is(mean, std, bgr_to_rgb, agrees):
    images = Preprocessing.of(mean, std, bgr_to_rgb)
    assert images.agrees_with(IMAGENET) == IMAGENET.agrees_with(images) == agrees


def test_images_from_0_to_1_or_of_other_channels_are_not_compared():
    assert Preprocessing.of([0.5] * 3, [0.5] * 3, True) is None
    assert Preprocessing.of([1.0] * 4, [1.0] * 4, True) is None


def test_a_pipeline_that_normalises_is_seen():
    class Normalize:
        pass

    pipeline = [dict(type='LoadImageFromFile'), dict(type='mmcv.Normalize', mean=[0])]
    wrapped = dict(dataset=dict(type='RepeatDataset', dataset=dict(pipeline=pipeline)))
    assert normalizes_in_pipeline(wrapped)
    assert normalizes_in_pipeline([dict(type=Normalize)])
    assert not normalizes_in_pipeline(dict(dataset=dict(pipeline=pipeline[:1])))
    assert not normalizes_in_pipeline(None)
