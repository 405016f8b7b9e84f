"""PreActSEResNet's own: SE blocks against the papers written plainly, stems, bad arguments."""

import pytest
import torch
import torch.nn.functional as F

from mmblocks import PreActSEResNet
from tests.parity import assert_same_maps, randomise


@pytest.mark.parametrize('depth', PreActSEResNet.arch_settings)
def test_se_adds_two_convolutions_to_each_block(depth):
    with torch.device('meta'):
        plain = PreActSEResNet(depth, se_ratio=None).state_dict()
        added = set(PreActSEResNet(depth).state_dict()) - set(plain)
    assert {name.split('.', 4)[-1] for name in added} == {
        f'se.fc{i}.{kind}' for i in (1, 2) for kind in ('weight', 'bias')
    }
    assert len(added) == 4 * sum(PreActSEResNet.arch_settings[depth].stage_blocks)


def test_the_default_is_the_smallest():
    assert PreActSEResNet().depth == 18


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
