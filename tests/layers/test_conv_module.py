"""The ConvModule that heeds the init_cfg of the net around it."""

from mmcv import cnn
from mmengine.model import Sequential

from mmblocks.layers.conv_module import ConvModule


def net(module):
    init_cfg = dict(type='Constant', val=0.5, layer='Conv2d')
    built = Sequential(module(3, 4, 1, norm_cfg=dict(type='BN')), init_cfg=init_cfg)
    built.init_weights()
    return built


def test_the_nets_init_cfg_decides():
    assert (net(ConvModule)[0].conv.weight == 0.5).all()


def test_it_is_still_needed():
    """Once mmcv's heeds the config, ours can go."""
    assert not (net(cnn.ConvModule)[0].conv.weight == 0.5).all()


def test_keys_and_arguments_are_mmcvs():
    options = dict(kernel_size=3, norm_cfg=dict(type='GN', num_groups=2), act_cfg=None)
    assert list(ConvModule(3, 4, **options).state_dict()) == list(
        cnn.ConvModule(3, 4, **options).state_dict()
    )
