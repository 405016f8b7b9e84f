"""The weights of every net of every peer, from a file, inside a detector of mmdet."""

import random

import pytest
import torch
from mmengine.config import ConfigDict
from safetensors.torch import save_file
from torch import nn

from mmblocks import feature_info
from mmblocks.describe.table import NECK_PEERS, VARIANTS
from tests.detecting import build_detector
from tests.pairs import one_of_each
from tests.parity import assert_same_maps, randomise
from tests.peers import build_random_peer, peer_outputs, undrawn


def save_shuffled(model, path):
    state_dict = {key: value.contiguous() for key, value in model.state_dict().items()}
    keys = sorted(state_dict)
    random.Random(0).shuffle(keys)
    if path.suffix == '.safetensors':
        save_file({key: state_dict[key] for key in keys}, path)
    else:
        torch.save(dict(state_dict={key: state_dict[key] for key in keys}), path)


def detector_cfg(backbone):
    """A RetinaNet on our backbone and FPN."""
    channels = [info.channels for info in feature_info(backbone)]
    return ConfigDict(
        default_scope='mmdet',
        model=dict(
            type='RetinaNet',
            backbone=dict(backbone, type=f'mmblocks.{backbone["type"]}'),
            neck=dict(
                type='mmblocks.FPN', in_channels=channels, out_channels=8, num_outs=len(channels)
            ),
            bbox_head=dict(
                type='RetinaHead',
                num_classes=2,
                in_channels=8,
                feat_channels=8,
                stacked_convs=1,
                anchor_generator=dict(
                    type='AnchorGenerator',
                    scales=[4],
                    ratios=[1.0],
                    strides=[info.stride for info in feature_info(backbone)],
                ),
            ),
        ),
    )


@pytest.mark.parametrize('pair', one_of_each(), ids=str)
def test_a_peers_file_gives_the_peers_outputs_in_a_detector(pair, peer, mmdet_models, tmp_path):
    theirs = build_random_peer(pair, peer, mmdet_models)
    path = tmp_path / ('net.safetensors' if pair.library == 'timm' else 'net.pth')
    save_shuffled(theirs, path)
    cfg = dict(pair.cfg, init_cfg=dict(type='Pretrained', checkpoint=str(path), min_match=1))
    with undrawn():
        detector = build_detector(detector_cfg(cfg), mmdet_models)
    detector.init_weights()
    size = (32, 32) if cfg['type'] == 'LeNet5' else (64, 64)
    x = torch.rand(1, pair.channels, *size)
    with torch.no_grad():
        backbone = detector.eval().backbone
        assert_same_maps(backbone(x), peer_outputs(pair, theirs, x))
        assert len(detector.extract_feat(x)) == len(backbone.out_channels)


class MmdetPyramid(nn.Module):
    """The part of a detector of mmdet that gives maps, under the names that it has there."""

    def __init__(self, models):
        super().__init__()
        self.backbone = models.build(dict(type='mmdet.ResNet', depth=18))
        self.neck = models.build(
            dict(type='mmdet.FPN', in_channels=CHANNELS, out_channels=8, num_outs=4)
        )

    def forward(self, x):
        return self.neck(self.backbone(x))


class TorchvisionPyramid(nn.Module):
    """The same of a detector of torchvision."""

    def __init__(self, peer):
        super().__init__()
        self.backbone = peer('torchvision.models.detection.backbone_utils').BackboneWithFPN(
            peer('torchvision.models').resnet18(),
            {name: name for name in ('layer1', 'layer2', 'layer3', 'layer4')},
            CHANNELS,
            out_channels=8,
        )

    def forward(self, x):
        return list(self.backbone(x).values())[:4]


CHANNELS = [64, 128, 256, 512]
PYRAMIDS = {
    'mmdet': lambda peer, models: MmdetPyramid(models),
    'torchvision': lambda peer, models: TorchvisionPyramid(peer),
}


@pytest.mark.parametrize('library', NECK_PEERS['FPN'])
def test_backbone_and_fpn_of_a_peers_detector_load_from_its_one_file(
    library, peer, mmdet_models, tmp_path
):
    theirs = randomise(PYRAMIDS[library](peer, mmdet_models))
    theirs.eval()  # OpenMMLab's returns nothing
    path = tmp_path / 'detector.pth'
    save_shuffled(theirs, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path), min_match=1)
    cfg = detector_cfg(dict(type='ResNet', depth=18, init_cfg=init_cfg))
    cfg.model.neck.init_cfg = init_cfg
    detector = build_detector(cfg, mmdet_models)
    detector.init_weights()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps(detector.eval().extract_feat(x), theirs(x))


def test_every_pair_that_the_readme_names_is_proved():
    named = {(variant.cfg['type'], peer) for variant in VARIANTS for peer in variant.libraries}
    assert {(pair.cfg['type'], pair.library) for pair in one_of_each()} == named
