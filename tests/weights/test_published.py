"""Weights that load give the maps of their model, or it is said that they do not."""

import logging
import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import mmblocks
from mmblocks.describe.catalog import build_on_meta
from mmblocks.describe.table import VARIANTS
from mmblocks.utils.errors import UserError
from mmblocks.weights import load_pretrained
from mmblocks.weights.published import doubt_about, unmet_needs
from tests.parity import randomise
from tests.peers import Pair, build_random_peer

B0 = dict(type='EfficientNet', arch='b0', out_indices=(1, 2, 3, 4, 5))
ES = dict(type='EfficientNet', arch='es', out_indices=(1, 2, 3, 4, 5))
RESNET = dict(type='ResNet', depth=50, norm_eval=False)
LARGE = dict(type='MobileNetV3', arch='large')
V4_MEDIUM = dict(type='MobileNetV4', arch='conv_medium')

# Its blocks have the sizes of b0's, but there are more of them.
DEEPER = 'efficientnet_b1'
# Nets with their defaults, and models whose tensors they take.
MODELS = (
    *(Pair(B0, 'timm', name) for name in ('efficientnet_b0', 'tf_efficientnet_b0')),
    Pair(B0, 'timm', 'efficientnet_blur_b0'),
    Pair(B0, 'timm', DEEPER),
    Pair(B0, 'timm', 'efficientnet_cc_b0_4e'),
    *(Pair(ES, 'timm', name) for name in ('efficientnet_es', 'tf_efficientnet_es')),
    Pair(B0, 'torchvision', 'efficientnet_b0'),
    Pair(dict(type='EfficientNet', arch='b5', out_indices=1), 'torchvision', 'efficientnet_b5'),
    Pair(dict(type='MobileNetV3', arch='small_050'), 'timm', 'mobilenetv3_small_050'),
    Pair(dict(type='MobileNetV3', arch='small_075'), 'timm', 'tf_mobilenetv3_small_075'),
    Pair(dict(type='MobileNetV3', arch='small'), 'torchvision', 'mobilenet_v3_small'),
    Pair(LARGE, 'timm', 'mobilenetv3_rw'),
    Pair(dict(type='MobileNetV4'), 'timm', 'mobilenetv4_conv_small'),
    Pair(V4_MEDIUM, 'timm', 'mobilenetv4_conv_medium'),
    Pair(V4_MEDIUM, 'timm', 'mobilenetv4_conv_blur_medium'),
    Pair(V4_MEDIUM, 'timm', 'mobilenetv4_hybrid_medium'),
    Pair(dict(type='ResNet', depth=18), 'timm', 'resnet18'),
    Pair(dict(type='ResNet', depth=18), 'timm', 'resnetblur18'),
    Pair(dict(type='ResNet', depth=18), 'timm', 'seresnet18'),
    Pair(RESNET, 'timm', 'resnetaa50'),
    Pair(dict(type='ResNetV1d', depth=34), 'timm', 'resnetaa34d'),
    Pair(dict(type='ResNetV1d', depth=50), 'timm', 'ecaresnet50d'),
    Pair(dict(type='ResNetV1d', depth=50), 'timm', 'resnet50t'),
    Pair(RESNET, 'mmdet', 'ResNet', dict(depth=50, norm_eval=False)),
    Pair(dict(type='DenseNet', arch='121'), 'timm', 'densenetblur121d'),
    Pair(dict(type='GhostNet'), 'timm', 'ghostnetv2_100'),
    Pair(dict(type='MobileNetV1'), 'timm', 'mobilenetv1_100h'),
)


class Loaded(NamedTuple):
    """A net of ours and what was said when it was loaded."""

    net: nn.Module
    level: int


def load(cfg: dict[str, Any], path, log, **options) -> Loaded:
    cfg = dict(cfg)
    net = getattr(mmblocks, cfg.pop('type'))(**cfg).eval()
    log.clear()
    load_pretrained(net, str(path), **options)
    return Loaded(net, max(record.levelno for record in log.records))


def gives_maps_of(net: nn.Module, theirs: nn.Module) -> bool:
    """Whether each map of a net is what some module of the other gives."""
    found = []

    def keep(module, args, output):
        # What follows may work in place.
        found.extend(x.clone() for x in [output] if isinstance(x, torch.Tensor))

    handles = [part.register_forward_hook(keep) for part in theirs.modules()]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs(x)
        maps = net.eval()(x)
    for handle in handles:
        handle.remove()
    return all(
        any(
            out.shape == other.shape and (out - other).abs().max() <= 1e-4 * other.abs().max()
            for other in found
        )
        for out in maps
    )


def saved(model, path):
    torch.save(model.state_dict(), path)
    return path


BLURRED = r"timm's resnetaa\* and resnetblur\* are other nets .*: they blur or pool"
# What is said where the name or the keys tell.
SAID = {
    'tf_mobilenetv3_small_075': r"write conv_cfg=dict\(type='mmblocks.Conv2dSamePadding'\) ",
    'efficientnet_es': r"write conv_cfg=None, norm_cfg=.*, act_cfg=dict\(type='ReLU'\) ",
    'efficientnet_blur_b0': r"timm's efficientnet_blur_b0 are other nets .*: they blur in",
    'efficientnet_cc_b0_4e': r'weights of timm \(conditional convolutions\): their kernels',
    'mobilenetv3_rw': r"timm's mobilenetv3_rw are other nets .* have other widths",
    'mobilenetv4_conv_blur_medium': r"timm's mobilenetv4_conv_aa_\* and .* are other nets ",
    'mobilenetv4_hybrid_medium': 'only 277 of 380 tensors of MobileNetV4 found weights',
    'resnetaa34d': BLURRED,
    'resnetaa50': BLURRED,
    'resnetblur18': BLURRED,
    'resnet50t': r"timm's resnet\*t are other nets .*: their stems",
    'ecaresnet50d': r'weights of timm \(ECA\): its blocks have channel attentions',
    'seresnet18': r'weights of timm \(SE\): .*SEResNet takes those',
    'densenetblur121d': r'weights of timm \(deep stem\): stem and strides are others',
    'ghostnetv2_100': 'weights of GhostNetV2 or V3: its ghost modules have further',
}


@pytest.mark.parametrize('pair', MODELS, ids=lambda pair: f'{pair.cfg["type"]}-{pair.name}')
def test_other_maps_are_never_given_in_silence(pair, peer, mmdet_models, tmp_path, log):
    theirs = build_random_peer(pair, peer, mmdet_models)
    path = saved(theirs, tmp_path / 'net.pth')
    # Nothing but the tensors tells.
    try:
        loaded = load(pair.cfg, path, log)
        assert gives_maps_of(loaded.net, theirs) or loaded.level == logging.WARNING
    except UserError:
        pass
    # The name tells as well, and what to write is right.
    path = path.rename(tmp_path / f'{pair.name}.pth')
    said = ''
    try:
        loaded = load(pair.cfg, path, log)
    except UserError as error:
        said = str(error)
    if said:
        assert re.search(SAID.get(pair.name, 'gives other maps than'), said)
        written = re.search(r': write (.*) \(min_match below 0\.9 loads it\)', said)
        if written is None:
            return
        loaded = load(pair.cfg | eval(f'dict({written[1]})'), path, log)
        assert gives_maps_of(loaded.net, theirs) or pair.name == DEEPER
    assert gives_maps_of(loaded.net, theirs) == (loaded.level == logging.INFO)


def test_what_the_readme_says_that_weights_need_is_proved():
    needs = {
        (variant.cfg['type'], row.library, row.name)
        for variant in VARIANTS
        for row, _ in unmet_needs(build_on_meta(variant.cfg))
        if row.library in ('timm', 'torchvision')  # of which there are live models by these names
    }
    assert needs
    for net, library, name in needs:
        assert any(
            pair.cfg['type'] == net and pair.library == library and re.match(name, pair.name)
            for pair in MODELS
        ), f"{library}'s {name}"


def test_with_a_lower_min_match_the_error_is_a_warning(peer, tmp_path, log):
    theirs = peer('torchvision.models').mobilenet_v3_small()
    path = saved(theirs, tmp_path / 'net.pth')
    cfg = dict(type='MobileNetV3', arch='small', norm_cfg=dict(type='SyncBN'))
    with pytest.raises(UserError, match=r"write norm_cfg=dict\(type='SyncBN', eps=0.001\) \(min_"):
        load(cfg, path, log)
    loaded = load(cfg, path, log, min_match=0.89)
    assert loaded.level == logging.WARNING
    assert "gives other maps than torchvision's mobilenet_v3_*: write norm_cfg" in log.text


def test_what_nothing_tells_names_all_that_it_may_be(peer, tmp_path, log):
    theirs = peer('timm').create_model('mobilenetv3_small_050')
    options = dict(type='MobileNetV3', arch='small_050')
    assert load(options, saved(theirs, tmp_path / 'net.pth'), log).level == logging.WARNING
    assert (
        "timm's tf_mobilenetv3_* (conv_cfg=dict(type='mmblocks.Conv2dSamePadding')); timm's "
        "mobilenetv3_* (norm_cfg=dict(type='BN', eps=1e-05)). Write what they need, or keep"
    ) in log.text
    # What is right already is not to be written again.
    right = options | dict(norm_cfg=dict(type='BN'))
    assert load(right, tmp_path / 'net.pth', log).level == logging.WARNING
    assert "timm's mobilenetv3_* (as this net is)" in log.text


CAFFE = "write style='caffe'"
EVEN_B0 = 'write conv_cfg=None, norm_cfg='


@pytest.mark.parametrize(
    ('cfg', 'source', 'mapping', 'expected'),
    [
        (B0, 'timm://efficientnet_b0.ra_in1k', 'timm', EVEN_B0),
        (B0, 'timm://tf_efficientnet_b0.ns_jft_in1k', 'timm', None),
        (B0, 'timm://hf-hub:timm/efficientnet_b0.ra_in1k', 'timm', EVEN_B0),
        (
            B0,
            'https://huggingface.co/timm/tf_efficientnet_b0.in1k/resolve/main/x.bin',
            'timm',
            None,
        ),
        (
            B0,
            'hub/models--timm--efficientnet_b0.ra_in1k/snapshots/1/model.safetensors',
            'timm',
            EVEN_B0,
        ),
        (B0, 'efficientnet_b0/model.safetensors', 'timm', EVEN_B0),
        (B0, 'efficientnet_b0/mine.safetensors', 'timm', 'do not tell'),
        (B0, r'C:\weights\tf_efficientnet_b0_aa-827b6e33.pth', 'timm', None),
        (B0, 'https://x.org/tf_efficientnet_b0.pth?download=true', 'timm', None),
        (B0, 'https://x.org/weights/tf-efficientnet/b0.pth', 'timm', None),
        (B0, 'my_EfficientNet-B0.pth', 'timm', EVEN_B0),
        (B0, 'net.pth', 'torchvision', EVEN_B0),
        (dict(B0, arch='b5'), 'net.pth', 'torchvision', 'write conv_cfg=None'),
        (dict(B0, arch='b5', conv_cfg=None), 'net.pth', 'torchvision', None),
        (B0, 'efficientnet-b0_3rdparty_8xb32_in1k_20220119-a7e2a0b1.pth', None, None),
        (B0 | dict(conv_cfg=None), 'efficientnet-b0_3rdparty_8xb32.pth', 'mmblocks', 'SamePadding'),
        # A file of our own names is of any config.
        (B0 | dict(conv_cfg=None), 'epoch_12.pth', None, None),
        (
            dict(type='GoogLeNet', norm_cfg=dict(type='BN')),
            'torchvision://googlenet',
            None,
            'eps=0.001',
        ),
        (dict(type='GoogLeNet'), 'torchvision://googlenet', 'torchvision', None),
        (
            dict(type='CSPDarknet', norm_cfg=dict(type='BN')),
            'yolox_s_8x8_300e_coco_20211121_095711-4592a793.pth',
            None,
            'eps=0.001',
        ),
        (
            dict(type='MobileNetV3', arch='small_050'),
            'mobilenet-v3-small-050_3rdparty_in1k_20221114-e0b86be1.pth',
            None,
            'eps=1e-05',
        ),
        (RESNET, 'open-mmlab://detectron2/resnet50_caffe', None, CAFFE),
        (RESNET, 'resnet50_msra-5891d200.pth', None, CAFFE),
        (RESNET, 'faster_rcnn_r50_caffe_fpn_1x_coco_bbox_mAP-0.378.pth', None, CAFFE),
        (RESNET | dict(style='caffe'), 'resnet50_caffe-788b5fa3.pth', None, None),
        (dict(type='ResNet', depth=18), 'resnet18_caffe.pth', None, None),
        (RESNET, 'detectron2://ImageNetPretrained/MSRA/R-50.pkl', 'detectron2', CAFFE),
        (RESNET, 'detectron2://ImageNetPretrained/torchvision/R-50.pkl', 'detectron2', None),
        (RESNET, 'R-50.pkl', 'detectron2', 'do not tell'),
        (RESNET, 'torchvision://resnet50', 'torchvision', None),
        (RESNET, 'net.pth', 'torchvision', 'do not tell'),
        (RESNET, 'epoch_12.pth', None, None),
        (dict(type='ResNet', depth=34), 'net.pth', 'torchvision', None),
        (RESNET | dict(base_channels=32), 'net.pth', 'torchvision', None),
        (
            dict(type='ResNetV1d', depth=50),
            'resnetblur50d.pth',
            'timm (deep stem)',
            'are other nets',
        ),
        (dict(type='ResNetV1c', depth=50), 'net.pth', 'timm (deep stem)', None),
    ],
)
def test_addresses_names_and_layouts_tell(cfg, source, mapping, expected):
    net = build_on_meta(cfg)
    doubt = doubt_about(net, net.published, source, mapping)
    assert (doubt is None) == (expected is None), doubt
    if expected is not None:
        assert expected in doubt.text
        assert doubt.certain == (expected != 'do not tell')


def test_what_a_config_stitches_into_a_net_is_none_of_its_own():
    plugin = dict(cfg=dict(type='ConvModule', kernel_size=1, norm_cfg=dict(type='BN', eps=0.5)))
    plugins = [plugin | dict(position='after_block')]
    ak_conv = dict(cfg=dict(type='mmblocks.AKConv', num_points=5))
    replaced = [ak_conv | dict(stages=[False, True, False, False])]
    net = build_on_meta(dict(type='ResNet', depth=50, replace_convs=replaced, plugins=plugins))
    assert doubt_about(net, net.published, 'torchvision://resnet50', 'torchvision') is None
    net = build_on_meta(dict(B0, replace_convs=[ak_conv], plugins=plugins))
    assert doubt_about(net, net.published, 'timm://tf_efficientnet_b0', 'timm') is None


def test_mmdets_caffe_weights_give_other_maps_in_silence_no_more(mmdet_models, tmp_path, log):
    theirs = randomise(mmdet_models.build(dict(type='mmdet.ResNet', depth=50, style='caffe')))
    theirs.eval()  # OpenMMLab's returns nothing
    path = saved(theirs, tmp_path / 'resnet50_caffe.pth')
    with pytest.raises(UserError, match=CAFFE):
        load(RESNET, path, log)
    loaded = load(RESNET | dict(style='caffe'), path, log)
    assert loaded.level == logging.INFO
    assert gives_maps_of(loaded.net, theirs)
