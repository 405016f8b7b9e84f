"""PreActSEResNet: equal to the papers written plainly, and without its SE blocks to timm's."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks import PreActSEResNet
from tests.parity import assert_same_maps, gradients, randomise

DEPTHS = (18, 34, 50, 101, 152)


def timm_net(peer, depth=18, **options):
    return randomise(peer('timm').create_model(f'resnetv2_{depth}', **options)).eval()


def timm_maps(model, x):
    return model.forward_intermediates(x, indices=[1, 2, 3, 4], norm=True, intermediates_only=True)


def load(ours, theirs):
    keys = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert keys.missing_keys == keys.unexpected_keys == []
    return ours.eval()


@pytest.mark.parametrize('depth', [18, 34, 50])
def test_without_se_maps_and_logits_equal_timms(depth, peer):
    theirs = timm_net(peer, depth, num_classes=5)
    options = dict(se_ratio=None, num_classes=5, out_indices=(0, 1, 2, 3))
    ours = load(PreActSEResNet(depth, **options), theirs)
    x = torch.rand(2, 3, 65, 75)
    with torch.no_grad():
        assert_same_maps(ours(x), [*timm_maps(theirs, x), theirs(x)])


def test_maps_alone_need_no_classifier(peer):
    theirs = timm_net(peer, num_classes=5)
    ours = load(PreActSEResNet(18, se_ratio=None), theirs)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))


def test_timms_features_load_too(peer):
    theirs = timm_net(peer, features_only=True)
    ours = PreActSEResNet(18, se_ratio=None, out_indices=(0, 1, 2)).eval()
    assert ours.load_state_dict(theirs.state_dict(), strict=False).missing_keys == []
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        # timm's first one lies within the stem, and its last one has no norm.
        assert_same_maps(ours(x), theirs(x)[1:4])


@pytest.mark.parametrize('depth', [18, 50])
@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_maps_equal_timms(depth, output_stride, peer):
    theirs = timm_net(peer, depth, num_classes=0, output_stride=output_stride)
    ours = load(PreActSEResNet(depth, se_ratio=None, output_stride=output_stride), theirs)
    x = torch.rand(1, 3, 65, 75)
    with torch.no_grad():
        assert_same_maps(ours(x), timm_maps(theirs, x))
    assert ours.out_strides == (4, 8, min(16, output_stride), output_stride)


@pytest.mark.parametrize('depth', DEPTHS)
def test_every_tensor_has_timms_name_and_shape(depth, peer):
    with torch.device('meta'):
        theirs = peer('timm').create_model(f'resnetv2_{depth}')
        ours = PreActSEResNet(depth, se_ratio=None, num_classes=1000)
        excited = PreActSEResNet(depth, num_classes=1000)
    shapes, their_shapes = (
        {name: tensor.shape for name, tensor in net.state_dict().items()} for net in (ours, theirs)
    )
    assert shapes == their_shapes
    added = set(excited.state_dict()) - set(shapes)
    assert {name.split('.', 4)[-1] for name in added} == {
        f'se.fc{i}.{kind}' for i in (1, 2) for kind in ('weight', 'bias')
    }
    assert len(added) == 4 * sum(PreActSEResNet.arch_settings[depth].stage_blocks)
    assert PreActSEResNet().depth == 18


@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_equal_timms(peer, with_cp):
    theirs = timm_net(peer, num_classes=0).double().train()
    ours = load(PreActSEResNet(18, se_ratio=None, with_cp=with_cp), theirs).double().train()
    x = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    grads, dx = gradients(ours, ours, x)
    their_grads, their_dx = gradients(theirs, lambda x: timm_maps(theirs, x), x)
    assert_close(dx, their_dx, rtol=1e-8, atol=1e-8 * their_dx.abs().max().item())
    assert_close(grads, their_grads, rtol=1e-8, atol=1e-8)
    assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))


def plain_maps(weights, x, stem, num_convs):
    """The net as in the papers, from its state dict alone."""

    def preact(x, name):
        keys = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(weights[f'{name}.{key}'] for key in keys)).relu()

    def conv(x, name, **options):
        kernel = weights[f'{name}.weight']
        return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2, **options)

    def excitation(x, name):
        for i, function in ((1, torch.relu), (2, torch.sigmoid)):
            layer = (weights[f'{name}.fc{i}.{kind}'] for kind in ('weight', 'bias'))
            x = function(F.conv2d(x, *layer))
        return x

    if stem == 'cifar':
        x = conv(x, 'stem.conv')
    else:
        x = F.max_pool2d(conv(x, 'stem.conv', stride=2), 3, 2, 1)
    maps = []
    for stage in range(4):
        for i in range(len({k.split('.')[3] for k in weights if k.startswith(f'stages.{stage}.')})):
            name = f'stages.{stage}.blocks.{i}'
            stride = 2 if stage and not i else 1
            out = first = preact(x, f'{name}.norm1')
            for j in range(1, num_convs + 1):
                if j > 1:
                    out = preact(out, f'{name}.norm{j}')
                strided = stride if j == num_convs - 1 else 1
                out = conv(out, f'{name}.conv{j}', stride=strided)
            out = out * excitation(F.adaptive_avg_pool2d(out, 1), f'{name}.se')
            if f'{name}.downsample.conv.weight' in weights:
                x = conv(first, f'{name}.downsample.conv', stride=stride)
            x = out + x
        maps.append(x if stage < 3 else preact(x, 'norm'))
    return maps


@pytest.mark.parametrize(
    ('depth', 'stem', 'size', 'strides'),
    [
        (18, 'imagenet', (65, 75), (4, 8, 16, 32)),
        (18, 'cifar', (32, 32), (1, 2, 4, 8)),
        (50, 'imagenet', (64, 64), (4, 8, 16, 32)),
    ],
)
def test_with_se_it_is_what_the_papers_say(depth, stem, size, strides):
    net = randomise(PreActSEResNet(depth, stem=stem, base_channels=32)).eval()
    x = torch.rand(2, 3, *size)
    num_convs = 2 if depth == 18 else 3
    with torch.no_grad():
        assert_same_maps(net(x), plain_maps(net.state_dict(), x, stem, num_convs))
    assert net.out_strides == strides
    assert net.stages[3].blocks[0].se.fc1.out_channels == net.out_channels[-1] // 16


def test_maps_stay_as_they_were_given():
    # The stage behind a map begins with an activation in place.
    net = randomise(PreActSEResNet(18, base_channels=8)).eval()
    maps = net(torch.rand(1, 3, 64, 64))
    assert all((x < 0).any() for x in maps[:-1])
    assert (maps[-1] >= 0).all()


def test_weights_of_another_stem_are_refused(peer):
    theirs = peer('timm').create_model('resnetv2_18d')
    with pytest.raises(ValueError, match='the stem is another one'):
        PreActSEResNet(18, se_ratio=None).load_state_dict(theirs.state_dict())


def test_the_classifier_starts_small():
    # Initialised as the other convolutions are, few classes would start far from indifference.
    net = PreActSEResNet(18, base_channels=8, num_classes=5)
    net.init_weights()
    assert 0.005 < net.head.fc.weight.std() < 0.015
    assert net.stem.conv.weight.std() > 0.03


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=20), 'depth=20.*18, 34, 50'),
        (dict(stem='caffe'), "stem='caffe'.*'imagenet', 'cifar'"),
        (dict(depth=[18]), r'depth=\[18\]: must be one of'),
        (dict(base_channels=0), 'base_channels=0: must be an int of at least 1'),
        (dict(se_ratio='16'), "se_ratio='16'.*or None"),
        (dict(drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(se_ratio=0), 'se_ratio=0.*or None'),
        (dict(output_stride=4), 'output_stride=4.*8, 16 or 32'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        PreActSEResNet(**options)
