"""What many nets ask of their arguments, held for every net that takes them."""

import inspect

import pytest
import torch
from mmengine.registry import MODELS

import mmblocks
from tests.backbones.nets import NETS

WRONG = {
    'in_channels': (0, '3', 3.0, True),
    'norm_cfg': ('BN', {}),
    'act_cfg': ('ReLU', {}),
    'dropout': (-1, 2, 'a'),
    'dropout_aux': (-1, 2, 'a'),
    'drop_rate': (-1, 2, 'a'),
}
REQUIRED = {
    'norm_cfg': 'DenseNet GhostNet InceptionNeXt MobileNetV1 PreActSEResNet ResNeXt ResNet '
    'ResNetV1c ResNetV1d SENet SEResNet',
    'act_cfg': 'AlexNet DenseNet GhostNet InceptionNeXt LeNet5 MobileNetV1 NIN PreActSEResNet '
    'SENet ShuffleNetV1 SqueezeNet VGG',
}


def cases():
    nets = {net.cfg['type']: net.cfg for net in NETS}
    for name, cfg in nets.items():
        for argument in inspect.signature(getattr(mmblocks, name)).parameters:
            none = [None] if name in REQUIRED.get(argument, '').split() else []
            for wrong in (*WRONG.get(argument, ()), *none):
                yield pytest.param(cfg, argument, wrong, id=f'{name}-{argument}={wrong!r}')


@pytest.mark.parametrize(('cfg', 'argument', 'wrong'), cases())
def test_the_argument_is_named_with_what_was_given_and_what_is_accepted(cfg, argument, wrong):
    with torch.device('meta'), pytest.raises(ValueError, match=f'^{argument}=') as error:
        MODELS.build(dict(cfg, type=f'mmblocks.{cfg["type"]}') | {argument: wrong})
    assert str(error.value).split(f'{argument}={wrong!r}: must be ')[1]
