"""SENet's own: weights that are refused, narrow nets and bad arguments."""

import pytest
import torch

from mmblocks import SENet, SEResNet


def test_weights_for_the_other_pool_are_refused(peer):
    for theirs in (SEResNet(18), peer('timm').create_model('seresnet18')):
        with pytest.raises(ValueError, match=r'max pool is another one.*SEResNet takes them'):
            SENet('18').load_state_dict(theirs.state_dict())


def test_the_default_is_the_largest():
    with torch.device('meta'):
        assert SENet().arch == '154'


def test_a_narrow_net_keeps_the_proportions():
    # A quarter of the channels everywhere: in and out of each group as many as before.
    for arch in ('154', '50_32x4d', '50'):
        with torch.device('meta'):
            wide, narrow = SENet(arch), SENet(arch, base_channels=16)
        assert narrow.out_channels == tuple(n // 4 for n in wide.out_channels)
        for name in ('layer1.0.conv2', 'layer4.2.conv2', 'layer4.0.conv1', 'layer0.conv1'):
            a, b = wide.get_submodule(name), narrow.get_submodule(name)
            assert a.out_channels == 4 * b.out_channels
            assert a.groups in (1, 4 * b.groups)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='20'), "arch='20'.*'50_32x4d'.*154"),
        (dict(arch='18', se_ratio=0), 'se_ratio=0.*at least 1'),
        (dict(arch=[50]), r"arch=.*50.*: must be one of \['18', "),
        (dict(arch='18', se_ratio='16'), "se_ratio='16': must be an int"),
        (dict(arch='18', drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(arch='18', base_channels=0), 'base_channels=0: .*at least 1'),
        (dict(arch='50_32x4d', base_channels=7), 'base_channels=7.*whole number of groups'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        SENet(**options)
