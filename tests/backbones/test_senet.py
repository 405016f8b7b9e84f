"""SENet: equal to timm's legacy_senet154, legacy_seresnet* and legacy_seresnext*."""

import pytest
import torch
from torch.testing import assert_close

from mmblocks import SENet, SEResNet
from tests.parity import assert_same_maps, gradients, randomise

THEIR_NAMES = {
    '154': 'legacy_senet154',
    **{str(arch): f'legacy_seresnet{arch}' for arch in (18, 34, 50, 101, 152)},
    **{f'{arch}_32x4d': f'legacy_seresnext{arch}_32x4d' for arch in (26, 50, 101)},
}


def timm_net(peer, arch, **options):
    return randomise(peer('timm').create_model(THEIR_NAMES[arch], **options)).eval()


def their_maps(model, x):
    return model.forward_intermediates(x, indices=[1, 2, 3, 4], intermediates_only=True)


def load(ours, theirs):
    keys = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert keys.missing_keys == keys.unexpected_keys == []
    return ours.eval()


# Every kind of block, stem and shortcut.
@pytest.mark.parametrize('arch', ['18', '50', '154', '26_32x4d'])
def test_maps_and_logits_equal_timms(arch, peer):
    theirs = timm_net(peer, arch, num_classes=5)
    ours = load(SENet(arch, num_classes=5, out_indices=(0, 1, 2, 3)), theirs)
    x = torch.rand(1, 3, 64, 75)
    with torch.no_grad():
        assert_same_maps(ours(x), [*their_maps(theirs, x), theirs(x)])


def test_maps_alone_need_no_classifier(peer):
    theirs = timm_net(peer, '18', num_classes=5)
    ours = load(SENet('18'), theirs)
    x = torch.rand(1, 3, 65, 97)
    with torch.no_grad():
        assert_same_maps(ours(x), their_maps(theirs, x))


def test_it_equals_timms_features(peer):
    theirs = timm_net(peer, '18', features_only=True, in_chans=1)
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        # timm's first one lies within the stem.
        assert_same_maps(load(SENet('18', in_channels=1), theirs)(x), theirs(x)[1:])


@pytest.mark.parametrize('arch', THEIR_NAMES)
def test_every_tensor_has_timms_name_and_shape(arch, peer):
    with torch.device('meta'):
        theirs = peer('timm').create_model(THEIR_NAMES[arch])
        ours = SENet(arch, num_classes=1000)
    shapes, their_shapes = (
        {name: tensor.shape for name, tensor in net.state_dict().items()} for net in (ours, theirs)
    )
    assert shapes == their_shapes
    assert SENet().arch == '154'


@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_equal_timms(peer, with_cp):
    theirs = timm_net(peer, '26_32x4d', num_classes=0).double().train()
    ours = load(SENet('26_32x4d', with_cp=with_cp), theirs).double().train()
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    grads, dx = gradients(ours, ours, x)
    their_grads, their_dx = gradients(theirs, lambda x: their_maps(theirs, x), x)
    assert_close(dx, their_dx, rtol=1e-8, atol=1e-8 * their_dx.abs().max().item())
    assert_close(grads, their_grads, rtol=1e-8, atol=1e-8)
    assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def test_weights_for_the_other_pool_are_refused(peer):
    for theirs in (SEResNet(18), peer('timm').create_model('seresnet18')):
        with pytest.raises(ValueError, match=r'max pool is another one.*SEResNet takes them'):
            SENet('18').load_state_dict(theirs.state_dict())


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
