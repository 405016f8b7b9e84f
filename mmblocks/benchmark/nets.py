"""The table of the benchmark: each net beside the same net of other libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmblocks.utils.types import ConfigType


class Peer(NamedTuple):
    """How another library builds a net.

    Attributes:
        name: Its class in OpenMMLab's libraries, its builder's name in the others.
        options: The builder's arguments.
        without: Names of its modules behind the last map, which are taken off.
    """

    name: str
    options: Mapping[str, Any]
    without: tuple[str, ...] = ()


class BenchmarkNet(NamedTuple):
    """A net and its peers, which compute the same from equally many parameters.

    Attributes:
        title: Its name in the table.
        cfg: The config of ours.
        peers: The other libraries' nets by library.
    """

    title: str
    cfg: ConfigType
    peers: Mapping[str, Peer]

    @property
    def in_channels(self) -> int:
        """Channels of the images."""
        return 1 if self.cfg['type'] == 'LeNet5' else 3


# Without classifier, and with maps where the library can give them.
_FEATURES = dict(features_only=True)
_TRUNK = dict(num_classes=0, global_pool='')
_TORCHVISION_HEAD = ('avgpool', 'fc', 'classifier', 'dropout')


def _net(
    title: str,
    cfg: ConfigType,
    openmmlab: str = '',
    torchvision: str = '',
    timm: str = '',
    timm_options: Mapping[str, Any] = _FEATURES,
    **torchvision_options: Any,
) -> BenchmarkNet:
    """Returns a row of the table; those of ``openmmlab`` take the arguments of ours."""
    options = {key: value for key, value in cfg.items() if key != 'type'}
    peers = {library: Peer(cfg['type'], options) for library in openmmlab.split()}
    if torchvision:
        peers['torchvision'] = Peer(torchvision, torchvision_options, _TORCHVISION_HEAD)
    if timm:
        # It calls a convolution behind GhostNet's pooling as other nets' last one.
        without = ('conv_head', 'act2') if 'ghost' in timm else ()
        peers['timm'] = Peer(timm, timm_options, without)
    return BenchmarkNet(title, cfg, peers)


_BOTH = 'mmdet mmpretrain'
_ALL = (0, 1, 2, 3)
# mmdet's ResNets keep their BatchNorms in eval mode, the other libraries' do not.
_TRAINED = dict(out_indices=_ALL, norm_eval=False)
_BN = dict(type='BN')
_LAST = (6,)  # of EfficientNet


def _resnet(net: str = 'ResNet', depth: int = 50, **options: Any) -> ConfigType:
    return dict(type=net, depth=depth, **options, **_TRAINED)


NETS = (
    _net('ResNet-18', _resnet(depth=18), _BOTH, 'resnet18', 'resnet18'),
    _net('ResNet-50', _resnet(), _BOTH, 'resnet50', 'resnet50'),
    _net('ResNetV1c-50', _resnet('ResNetV1c'), 'mmpretrain', timm='resnet50c'),
    _net('ResNetV1d-50', _resnet('ResNetV1d'), _BOTH, timm='resnet50d'),
    _net(
        'ResNeXt-50 32x4d',
        _resnet('ResNeXt', groups=32, base_width=4),
        'mmdet',
        'resnext50_32x4d',
        'resnext50_32x4d',
    ),
    _net('SEResNet-50', _resnet('SEResNet'), 'mmpretrain', timm='seresnet50'),
    _net('SENet-50', dict(type='SENet', arch='50', out_indices=_ALL), timm='legacy_seresnet50'),
    _net(
        'PreActResNet-50',
        dict(type='PreActSEResNet', depth=50, se_ratio=None),
        timm='resnetv2_50',
        timm_options=_TRUNK,
    ),
    _net(
        'GhostNet',
        dict(type='GhostNet', out_indices=(2, 4, 6, 9)),
        timm='ghostnet_100',
        timm_options=dict(_TRUNK, drop_rate=0.0),
    ),
    _net('MobileNetV1', dict(type='MobileNetV1'), timm='mobilenetv1_100'),
    _net(
        'MobileNetV2',
        dict(type='MobileNetV2', out_indices=(1, 2, 4, 7)),
        _BOTH,
        'mobilenet_v2',
        'mobilenetv2_100',
        timm_options=_TRUNK,
    ),
    _net(
        'MobileNetV3-L',
        dict(type='MobileNetV3', arch='large', out_indices=(3, 6, 12, 16)),
        'mmpretrain',
        'mobilenet_v3_large',
        'mobilenetv3_large_100',
    ),
    _net(
        'MobileNetV4-M',
        dict(type='MobileNetV4', arch='conv_medium'),
        timm='mobilenetv4_conv_medium',
    ),
    _net(
        'ShuffleNetV1',
        dict(type='ShuffleNetV1', groups=3, out_indices=(0, 1, 2)),
        'mmpretrain',
    ),
    _net(
        'ShuffleNetV2',
        dict(type='ShuffleNetV2', out_indices=_ALL),
        'mmpretrain',
        'shufflenet_v2_x1_0',
    ),
    _net(
        'EfficientNet-b0',
        dict(type='EfficientNet', arch='b0', out_indices=_LAST),
        _BOTH,
        timm='tf_efficientnet_b0',
        timm_options=_TRUNK,
    ),
    _net(
        'EfficientNet-b0, symmetric',
        dict(type='EfficientNet', arch='b0', out_indices=_LAST, conv_cfg=None, norm_cfg=_BN),
        torchvision='efficientnet_b0',
        timm='efficientnet_b0',
        timm_options=_TRUNK,
        stochastic_depth_prob=0.0,
    ),
    _net('InceptionNeXt-tiny', dict(type='InceptionNeXt', arch='tiny'), timm='inception_next_tiny'),
    _net(
        'DenseNet-121',
        dict(type='DenseNet', arch='121', out_indices=_ALL),
        'mmpretrain',
        'densenet121',
        'densenet121',
    ),
    _net(
        'CSPDarknet-s',
        dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.5, out_indices=(2, 3, 4)),
        'mmdet',
    ),
    _net(
        'GoogLeNet', dict(type='GoogLeNet'), torchvision='googlenet',
        aux_logits=False, init_weights=False,
    ),
    _net('SqueezeNet', dict(type='SqueezeNet', arch='1_1'), torchvision='squeezenet1_1'),
    _net(
        'VGG-16',
        dict(type='VGG', depth=16, norm_cfg=_BN, out_indices=(4,)),
        'mmpretrain',
        'vgg16_bn',
        'vgg16_bn',
        init_weights=False,
    ),
    _net('AlexNet', dict(type='AlexNet'), 'mmpretrain', 'alexnet'),
    _net('LeNet5', dict(type='LeNet5'), 'mmpretrain'),
)  # fmt: skip
