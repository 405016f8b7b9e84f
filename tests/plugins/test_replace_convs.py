"""Layers can take the place of every net's convolutions, from the config."""

import pytest
import torch
from mmengine.registry import MODELS
from torch.testing import assert_close

from tests.backbones.nets import build, every_net, images
from tests.parity import randomise


@every_net
def test_other_layers_take_the_place_of_its_spatial_convolutions(net):
    plain = build(net)
    stitched = build(net, replace_convs=[dict(cfg=dict(type=Double), kernels='all')])
    swapped = [m for m in stitched.modules() if isinstance(m, Double)]
    assert swapped
    if plain._stage_groups[0] > 0:
        for module in stitched.group(0):
            assert not any(isinstance(m, Double) for m in module.modules())
    stitched.load_state_dict(randomise(plain).state_dict())
    x = images(net, 64, 96)
    with torch.no_grad():
        shapes = [out.shape for out in plain.eval()(x)]
        assert [out.shape for out in stitched.eval()(x)] == shapes


class Double(torch.nn.Conv2d):
    """A convolution of another kind."""

    def forward(self, x):
        return super().forward(x) * 2


def test_the_stages_choose_what_is_swapped():
    cfg = dict(type='mmblocks.ResNet', depth=18, base_channels=8)

    def build_with(**options):
        return MODELS.build(dict(cfg, replace_convs=[dict(cfg=dict(type=Double), **options)]))

    for stages in ((True, False, False, True), (False, True, False, False)):
        net = build_with(kernels='all', stages=stages)
        for layer, swapped in zip(('layer1', 'layer2', 'layer3', 'layer4'), stages, strict=True):
            kinds = {type(m) for m in getattr(net, layer).modules() if hasattr(m, 'kernel_size')}
            assert kinds == ({Double} if swapped else {torch.nn.Conv2d})
    net = build_with(kernels='spatial')
    sizes = {m.kernel_size for m in net.modules() if isinstance(m, Double)}
    assert sizes == {(3, 3)}
    net = build_with(fallback_on_stride=True)
    assert {m.stride for m in net.modules() if isinstance(m, Double)} == {(1, 1)}
    net = build_with(kernels='pointwise')
    assert {m.kernel_size for m in net.modules() if isinstance(m, Double)} == {(1, 1)}


@pytest.mark.parametrize('kind', ['mmblocks.DeformConv2d', 'mmblocks.DeformConv2dPack', 'DCNv2'])
@pytest.mark.parametrize('net', ['MobileNetV2', 'GhostNet'])
def test_deformable_convolutions_take_their_places_and_start_undeformed(net, kind):
    cfg = dict(type=f'mmblocks.{net}', replace_convs=[dict(cfg=dict(type=kind, deform_groups=1))])
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    offsets = [m.conv_offset.weight for m in backbone.modules() if hasattr(m, 'conv_offset')]
    assert offsets
    assert not any(offset.any() for offset in offsets)


def test_weights_of_the_plain_net_fill_what_was_not_swapped(tmp_path):
    cfg = dict(type='mmblocks.ResNet', depth=18, base_channels=8)
    plain = randomise(MODELS.build(cfg))
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    ak_conv = dict(type='mmblocks.AKConv', num_points=3)
    last = [dict(cfg=ak_conv, stages=(False, False, False, True))]
    net = MODELS.build(dict(cfg, replace_convs=last, init_cfg=init_cfg))
    net.init_weights()
    (report,) = net.load_reports
    assert report.share == 1
    assert {name.split('.')[0] for name in report.added} == {'layer4'}
    assert_close(net.layer3.state_dict(), plain.layer3.state_dict())
    assert not net.layer4[0].conv1.p_conv.weight.any()


AK = dict(type='mmblocks.AKConv')
FIRE = dict(
    type='mmblocks.FireModule', squeeze_channels=4, expand1x1_channels=4, expand3x3_channels=4
)


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [
        (
            dict(cfg=dict(type='mmblocks.AKConf')),
            r"\[0\]: cfg: no layer 'mmblocks\.AKConf'",
        ),
        (dict(cfg=AK, kernels='3x3'), r"kernels='3x3': must be one of \['spatial'"),
        (dict(cfg=AK, stages=(True,)), 'stages=.* must be 4 bools'),
        (dict(cfg=AK, stages=(True,) * 5), 'stages=.* must be 4 bools'),
        (dict(cfg=AK, stages=(False,) * 4), 'at least one True'),
        (dict(cfg=AK, stage=(True,) * 4), r"has \['stage'\]; accepted are cfg, stages"),
        (dict(stages=(True,) * 4), 'must be a dict with cfg, stages'),
        (dict(cfg='AKConv'), "'AKConv'.*: cfg must be a dict with the layer's type"),
        (dict(cfg=AK, fallback_on_stride=1), 'fallback_on_stride=1: must be True or False'),
        ('AKConv', 'must be a dict with cfg'),
        (
            dict(cfg=dict(type='mmblocks.ECA')),
            'ECA cannot take the place of layer2.0.conv1.*no out_channels',
        ),
        (
            dict(cfg=FIRE, fallback_on_stride=True),
            'FireModule cannot take the place of layer2.0.conv2, .*: of 16x16x16 it makes 8x16x16, '
            'where the convolution makes 16x16x16',
        ),
    ],
)
def test_a_replacement_that_cannot_be_is_explained(entry, expected):
    with pytest.raises(ValueError, match=expected):
        MODELS.build(dict(type='mmblocks.ResNet', depth=18, base_channels=8, replace_convs=[entry]))


def test_replacements_are_a_list():
    with pytest.raises(ValueError, match=r'replace_convs=.*: must be a list of dicts, or None'):
        MODELS.build(dict(type='mmblocks.ResNet', depth=18, replace_convs=dict(cfg=AK)))


def test_a_replacement_sees_what_those_before_it_have_left():
    first = dict(cfg=dict(type=Double), stages=(True, False, False, False))
    second = dict(cfg=dict(type='mmblocks.Conv2dSamePadding'))
    net = MODELS.build(
        dict(type='mmblocks.ResNet', depth=18, base_channels=8, replace_convs=[first, second])
    )
    assert isinstance(net.layer1[0].conv1, Double)
    assert type(net.layer2[0].conv1).__name__ == 'Conv2dSamePadding'
    assert {entry.by for entry in net.inserted.values()} == {'replace_convs'}


@pytest.mark.parametrize('kind', ['mmblocks.ModulatedDeformConv2dPack', 'DCNv2', 'mmblocks.AKConv'])
def test_what_a_deformable_convolution_is_made_of_stays(kind):
    double = [dict(cfg=dict(type=Double))]
    cfg = dict(type='mmblocks.ResNet', depth=18, base_channels=8, replace_convs=double)
    dcn = dict(dcn=dict(type=kind), stage_with_dcn=(False, True, False, False))
    net = MODELS.build(cfg | dcn)
    net.init_weights()
    assert isinstance(net.layer2[0].conv1, Double)
    assert net.layer2[0].dcn_conv == 'conv2'
    deformable = net.layer2[0].conv2
    assert net.inserted['layer2.0.conv2'].by == 'dcn'
    assert not any(isinstance(m, Double) for m in deformable.modules())


def test_a_replacement_that_works_in_place_leaves_the_shortcut_alone():
    in_place = [dict(cfg=dict(type='ConvModule', order=('act', 'conv', 'norm')))]
    net = MODELS.build(
        dict(type='mmblocks.ResNet', depth=18, base_channels=8, replace_convs=in_place)
    )
    x = torch.randn(2, 8, 8, 8)
    before = x.clone()
    net.layer1[0].conv1(x)
    assert torch.equal(x, before)
