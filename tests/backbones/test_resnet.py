"""ResNet's own: plugins, DCN, initialisation and bad arguments."""

import inspect
import warnings

import pytest
import torch
from torch import nn

from mmblocks import ResNet
from tests.parity import assert_same_maps, randomise

CONTEXT = dict(type='ContextBlock', ratio=0.25)
TINY = dict(base_channels=8, norm_eval=False)


def images(**kwargs):
    return torch.rand(2, 3, 65, 83, **kwargs)


def test_the_signature_begins_with_mmdets(mmdet_models):
    theirs = inspect.signature(mmdet_models.get('mmdet.ResNet').__init__).parameters
    ours = inspect.signature(ResNet.__init__).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        *((p.name, p.default) for p in theirs.values()),
        ('drop_path_rate', 0.0),
        ('expansion', None),
        ('replace_convs', None),
    ]


@pytest.mark.parametrize(
    ('depth', 'position', 'channels'),
    [
        (18, 'after_conv1', 8),
        (18, 'after_conv2', 8),
        (50, 'after_conv1', 8),
        (50, 'after_conv2', 8),
        (50, 'after_conv3', 32),
    ],
)
def test_a_plugin_runs_at_its_position(depth, position, channels):
    plain = randomise(ResNet(depth, **TINY)).eval()
    net = ResNet(
        depth,
        plugins=[dict(cfg=dict(type='ContextBlock', ratio=1.0), position=position)],
        **TINY,
    ).eval()
    net.load_state_dict(plain.state_dict(), strict=False)
    x = images()
    # ContextBlock starts as the identity, in every place.
    assert_same_maps(net(x), plain(x))
    block = net.layer1[0]
    assert block.context_block.in_channels == channels
    seen = []
    conv = getattr(block, position.removeprefix('after_'))
    conv.register_forward_hook(lambda *_: seen.append('conv'))
    block.context_block.register_forward_hook(lambda *_: seen.append('plugin'))
    for i in (1, 2, 3):
        if hasattr(block, f'conv{i}'):
            getattr(block, f'bn{i}').register_forward_hook(lambda *_, i=i: seen.append(f'bn{i}'))
    net(x)
    at = seen.index('plugin')
    assert seen[at - 1] == f'bn{position[-1]}'
    randomise(block.context_block, seed=3)
    assert not torch.allclose(net(x)[0], plain(x)[0])


class Scale(nn.Module):
    """A plugin whose order in a chain shows in the output."""

    def __init__(self, in_channels: int, factor: float, shift: float) -> None:
        super().__init__()
        self.factor, self.shift = factor, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor + self.shift


def test_plugins_at_one_position_run_in_a_chain():
    def net(*cfgs):
        plugins = [
            dict(cfg=dict(type=Scale, postfix=i, **cfg), position='after_conv2')
            for i, cfg in enumerate(cfgs)
        ]
        return randomise(ResNet(18, plugins=plugins, **TINY)).eval()

    x = images()
    chain = net(dict(factor=0.5, shift=0.1), dict(factor=1.5, shift=0.3))(x)
    as_one = net(dict(factor=0.75, shift=0.45))(x)
    assert_same_maps(chain, as_one)
    turned = net(dict(factor=1.5, shift=0.3), dict(factor=0.5, shift=0.1))(x)
    assert not torch.allclose(chain[0], turned[0])


def test_plugins_sit_only_in_their_stages():
    net = ResNet(
        18,
        plugins=[dict(cfg=CONTEXT, stages=(False, True, False, True), position='after_conv2')],
        **TINY,
    )
    with_plugin = {n.split('.')[0] for n, _ in net.named_modules() if 'context_block' in n}
    assert with_plugin == {'layer2', 'layer4'}


@pytest.mark.parametrize(
    ('plugin', 'error', 'message'),
    [
        (dict(cfg=CONTEXT, position='after_conv3'), ValueError, 'after_conv1, after_conv2'),
        (dict(cfg=CONTEXT), ValueError, 'position'),
        (dict(cfg=CONTEXT, position='after_conv1', stage=(True,)), ValueError, 'stage'),
        (dict(cfg=CONTEXT, position='after_conv1', stages=(True,)), ValueError, '4 bools'),
        (dict(cfg=CONTEXT, position='after_conv1', stages=(False,) * 4), ValueError, 'one True'),
        (dict(cfg=dict(ratio=1), position='after_conv1'), ValueError, 'type'),
        (
            dict(cfg=dict(type='ContextBlok'), position='after_conv1'),
            ValueError,
            "'ContextBlok'.*did you mean ContextBlock",
        ),
    ],
)
def test_a_plugin_that_cannot_work_is_an_error(plugin, error, message):
    with pytest.raises(error, match=message):
        ResNet(18, plugins=[plugin])


def test_two_plugins_of_one_name_need_a_postfix():
    plugins = [dict(cfg=CONTEXT, position=p) for p in ('after_conv1', 'after_conv2')]
    with pytest.raises(ValueError, match='postfix'):
        ResNet(18, plugins=plugins)


@pytest.mark.parametrize(
    ('depth', 'style', 'plain'),
    [(50, 'pytorch', {'layer3.0', 'layer4.0'}), (50, 'caffe', set()), (18, 'pytorch', set())],
)
def test_dcn_falls_back_exactly_where_the_stride_is_over_one(depth, style, plain):
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    net = ResNet(depth, style=style, dcn=dcn, stage_with_dcn=(False, False, True, True), **TINY)
    assert dcn['fallback_on_stride'] is True
    for i in (1, 2, 3, 4):
        for j, block in enumerate(getattr(net, f'layer{i}')):
            deformable = type(block.conv2).__name__ == 'ModulatedDeformConv2dPack'
            assert deformable == (i > 2 and f'layer{i}.{j}' not in plain)
            assert type(block.conv1) is nn.Conv2d
    net(images())


def test_a_dcn_starts_with_no_offset_after_initialisation():
    net = ResNet(
        18,
        dcn=dict(type='DCNv2', deform_groups=1),
        stage_with_dcn=(False, False, False, True),
        **TINY,
    )
    net.init_weights()
    offsets = [p for n, p in net.named_parameters() if 'conv_offset' in n]
    assert len(offsets) == 4
    assert all(p.abs().max() == 0 for p in offsets)


def test_zero_init_residual_starts_with_identity_blocks():
    for depth, last in ((18, 'bn2'), (50, 'bn3')):
        for zero in (True, False):
            net = ResNet(depth, zero_init_residual=zero, **TINY)
            net.init_weights()
            for block in (*net.layer1, *net.layer4):
                assert bool((getattr(block, last).weight == 0).all()) == zero
                assert (block.bn1.weight == 1).all()
        bare = ResNet(depth, norm_cfg=None, **TINY)
        bare.init_weights()
        convs = [getattr(block, last.replace('bn', 'conv')) for block in bare.layer4]
        assert not any(conv.weight.any() or conv.bias.any() for conv in convs)
        assert bare.layer4[0].conv1.weight.any()


def test_pretrained_still_works_and_says_that_it_is_deprecated(tmp_path):
    source = randomise(ResNet(18, **TINY))
    path = str(tmp_path / 'weights.pth')
    torch.save(source.state_dict(), path)
    with pytest.warns(DeprecationWarning, match='init_cfg'):
        net = ResNet(18, pretrained=path, **TINY)
    net.init_weights()
    torch.testing.assert_close(dict(net.state_dict()), dict(source.state_dict()))
    with pytest.raises(ValueError, match='both'):
        ResNet(18, pretrained=path, init_cfg=dict(type='Pretrained', checkpoint=path))
    with pytest.raises(TypeError, match='pretrained=7'):
        ResNet(18, pretrained=7)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=17), r'depth=17.*\[18, 34, 50, 101, 152\]'),
        (dict(style='torch'), "style='torch': must be one of .*pytorch.*caffe"),
        (dict(num_stages=5), 'num_stages=5: must be one of .*1, 2, 3, 4'),
        (dict(strides=(1, 2)), r'strides=\(1, 2\).*4 entries'),
        (dict(dilations=(1,)), r'dilations=\(1,\).*4 entries'),
        (dict(dcn=dict(type='DCNv2')), 'dcn.*no stage'),
        (dict(dcn=dict(type='DCNv2'), stage_with_dcn=(True,)), 'stage_with_dcn.*4 entries'),
        (dict(dcn=dict(), stage_with_dcn=(True,) * 4), r'dcn=\{\}: must be a dict such as'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**dict(depth=18) | options)


def test_an_unknown_dcn_is_named():
    with pytest.raises(ValueError, match=r'dcn.*DCNv9'):
        ResNet(18, dcn=dict(type='DCNv9'), stage_with_dcn=(False, False, False, True))


def test_stage_with_dcn_alone_is_called_out():
    with pytest.warns(UserWarning, match='no effect without dcn'):
        ResNet(18, stage_with_dcn=(False, True, True, True))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ResNet(18)
