"""Modules can be stitched into every net, at every position of its blocks, from the config."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch.testing import assert_close

from mmblocks.backbones.stitching import trace
from mmblocks.layers.plugins import IdentityStart
from tests.backbones.nets import NETS
from tests.parity import randomise

every_net = pytest.mark.parametrize('net', NETS, ids=str)
LAYERS = dict(
    after=dict(type='mmblocks.ECA'), parallel=dict(type='ConvModule', kernel_size=3, padding=1)
)


def build(net, **options):
    return MODELS.build(dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}', **options))


def everywhere(positions, init='identity'):
    """A plugin at each position."""
    return [
        dict(
            cfg=dict(LAYERS.get(position, LAYERS['after']), postfix=f'_{i}'),
            position=position,
            init=init,
        )
        for i, position in enumerate(positions)
    ]


def image(net, size=64):
    return torch.rand(2, net.in_channels, size, size + 32)


def open_gates(backbone):
    """Lets the plugins that start as the identity have an effect."""
    for module in backbone.modules():
        if isinstance(module, IdentityStart):
            torch.nn.init.constant_(module.gate, 0.5)


@every_net
def test_a_stitched_net_starts_as_the_plain_one_and_its_plugins_learn(net):
    plain = randomise(build(net)).eval()
    plugins = everywhere(plain.plugin_positions)
    before = copy.deepcopy(plugins)
    stitched = build(net, plugins=plugins).eval()
    assert plugins == before
    missing, unexpected = stitched.load_state_dict(plain.state_dict(), strict=False)
    added = {
        key
        for name, part in stitched.named_modules()
        if getattr(part, 'is_plugin', False)
        for key in part.state_dict(prefix=f'{name}.')
    }
    assert set(missing) == added
    assert unexpected == []
    x = image(net)
    with torch.no_grad():
        expected = plain(x)
        assert_close(stitched(x), expected, rtol=0, atol=0)

    open_gates(stitched)
    outs = stitched(x)
    assert [o.shape for o in outs] == [o.shape for o in expected]
    sum(out.square().mean() for out in outs).backward()
    for position, suffix in zip(
        plain.plugin_positions, (p['cfg']['postfix'] for p in plugins), strict=True
    ):
        grads = [p.grad for name, p in stitched.named_parameters() if f'{suffix}.' in name]
        grads += [p.grad for name, p in stitched.named_parameters() if f'{suffix}_stage' in name]
        assert grads, f'no plugin at {position}'
        assert any(grad is not None and grad.any() for grad in grads), position


@every_net
def test_stitched_nets_keep_the_contract(net):
    backbone = randomise(build(net, plugins=everywhere(build(net).plugin_positions))).double()
    open_gates(backbone)
    x = image(net).double()
    results = []
    for with_cp in (False, True):
        twin = copy.deepcopy(backbone).train()
        twin.with_cp = with_cp
        outs = twin(x)
        sum(out.square().mean() for out in outs).backward()
        results.append((outs, {name: p.grad for name, p in twin.named_parameters()}))
    assert_close(results[0][0], results[1][0], rtol=0, atol=0)
    assert_close(results[0][1], results[1][1], rtol=1e-9, atol=1e-12)
    # A copy runs its own plugins, not the original's.
    twin = copy.deepcopy(backbone).eval()
    for parameter in backbone.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        assert any(out.any() for out in twin(x))
    twin.train().set_frozen_stages(len(twin._group_names) - 1)
    assert [name for name, p in twin.named_parameters() if p.requires_grad] == []


@every_net
def test_a_wrong_position_is_named_with_those_that_there_are(net):
    with pytest.raises(ValueError, match=r"position='after_conv9'; .*after_block, parallel"):
        build(net, plugins=[dict(cfg=LAYERS['after'], position='after_conv9')])


@every_net
def test_other_layers_take_the_place_of_its_spatial_convolutions(net):
    plain = build(net)
    stitched = build(net, conv_cfg=dict(type=Double, kernels='all'))
    swapped = [m for m in stitched.modules() if isinstance(m, Double)]
    assert swapped
    for name in plain._group_names[0] if plain._stage_groups[0] > 0 else ():
        assert not any(isinstance(m, Double) for m in stitched.get_submodule(name).modules())
    stitched.load_state_dict(randomise(plain).state_dict())
    x = image(net)
    with torch.no_grad():
        shapes = [out.shape for out in plain.eval()(x)]
        assert [out.shape for out in stitched.eval()(x)] == shapes


class Double(torch.nn.Conv2d):
    """A convolution of another kind."""

    def forward(self, x):
        return super().forward(x) * 2


def test_the_stages_choose_what_is_swapped():
    cfg = dict(
        type='mmblocks.ResNet', depth=18, base_channels=8, conv_cfg=dict(type=Double, kernels='all')
    )
    for stages in ((True, False, False, True), (False, True, False, False)):
        net = MODELS.build(dict(cfg, conv_cfg=dict(cfg['conv_cfg'], stages=stages)))
        for layer, swapped in zip(('layer1', 'layer2', 'layer3', 'layer4'), stages, strict=True):
            kinds = {type(m) for m in getattr(net, layer).modules() if hasattr(m, 'kernel_size')}
            assert kinds == ({Double} if swapped else {torch.nn.Conv2d})
    net = MODELS.build(dict(cfg, conv_cfg=dict(type=Double, kernels='spatial')))
    sizes = {m.kernel_size for m in net.modules() if isinstance(m, Double)}
    assert sizes == {(3, 3)}
    net = MODELS.build(dict(cfg, conv_cfg=dict(type=Double, fallback_on_stride=True)))
    assert {m.stride for m in net.modules() if isinstance(m, Double)} == {(1, 1)}
    net = MODELS.build(dict(cfg, conv_cfg=dict(type=Double, kernels='pointwise')))
    assert {m.kernel_size for m in net.modules() if isinstance(m, Double)} == {(1, 1)}


@pytest.mark.parametrize('kind', ['mmblocks.DeformConv2d', 'mmblocks.DeformConv2dPack', 'DCNv2'])
@pytest.mark.parametrize('net', ['MobileNetV2', 'GhostNet'])
def test_deformable_convolutions_take_their_places_and_start_undeformed(net, kind):
    cfg = dict(type=f'mmblocks.{net}', conv_cfg=dict(type=kind, deform_groups=1))
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
    swap = dict(type='mmblocks.AKConv', num_points=3, stages=(False, False, False, True))
    net = MODELS.build(dict(cfg, conv_cfg=swap, init_cfg=init_cfg))
    net.init_weights()
    (report,) = net.load_reports
    assert report.share == 1
    assert {name.split('.')[0] for name in report.added} == {'layer4'}
    assert_close(net.layer3.state_dict(), plain.layer3.state_dict())
    assert not net.layer4[0].conv1.p_conv.weight.any()


@pytest.mark.parametrize(
    ('conv_cfg', 'expected'),
    [
        (dict(type='mmblocks.AKConf'), r"conv_cfg: no layer 'mmblocks\.AKConf'"),
        (dict(type='mmblocks.AKConv', kernels='3x3'), r"kernels='3x3' must be one of \['spatial'"),
        (dict(type='mmblocks.AKConv', stages=(True,)), 'stages=.* must be 4 bools'),
        (dict(type='mmblocks.AKConv', stages=(False,) * 4), 'at least one True'),
        (dict(type='mmblocks.ECA'), 'ECA cannot take the place of layer2.0.conv1.*no out_channels'),
    ],
)
def test_a_swap_that_cannot_be_is_explained(conv_cfg, expected):
    with pytest.raises((ValueError, KeyError), match=expected):
        MODELS.build(dict(type='mmblocks.ResNet', depth=18, base_channels=8, conv_cfg=conv_cfg))


@pytest.mark.parametrize(
    ('plugin', 'expected'),
    [
        (dict(cfg=dict(type='mmblocks.ECA'), position='parallel'), 'ECA at parallel would have to'),
        (dict(cfg=dict(type='mmblocks.ECAA'), position='after_block'), "no layer 'mmblocks.ECAA'"),
        (
            dict(cfg=dict(type='mmblocks.ECA', in_channels=3), position='after_block'),
            'has in_channels=3, but 8 are needed there',
        ),
        (
            dict(cfg=dict(type='mmblocks.ECA'), position='after_block', init='zero'),
            "init='zero' must be 'identity' or None",
        ),
        (
            dict(cfg=dict(type='mmblocks.ECA'), position='after_block', stages=(True,)),
            'must be 4 bools',
        ),
        (
            dict(
                cfg=dict(type='ConvModule', out_channels=3, kernel_size=1), position='after_conv1'
            ),
            'has out_channels=3, but 8 are needed there',
        ),
    ],
)
def test_a_plugin_that_cannot_be_is_explained(plugin, expected):
    with pytest.raises((ValueError, KeyError), match=expected):
        MODELS.build(dict(type='mmblocks.ResNet', depth=18, base_channels=8, plugins=[plugin]))


def test_the_three_structures_run_in_order():
    """Behind a convolution, beside the block, and behind the block with what is beside it."""

    def scale(name, position, **options):
        return dict(cfg=dict(type=Scale, postfix=name, **options), position=position, init=None)

    plugins = [scale('c', 'after_block', by=10), scale('a', 'after_conv2', by=2)]
    plain = dict(type='mmblocks.ResNet', depth=18, base_channels=8, strides=(1, 1, 1, 1))
    stages = (True, False, False, False)
    plugins = [dict(p, stages=stages) for p in [*plugins, scale('b', 'parallel', by=3)]]
    x = torch.rand(1, 3, 64, 64)
    ours = randomise(MODELS.build(dict(plain, plugins=plugins))).eval()
    block = ours.layer1[0]
    y = ours.maxpool(ours.relu(ours.bn1(ours.conv1(x))))
    inner = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(y))))) * 2
    with torch.no_grad():
        assert_close(block(y), 10 * (torch.relu(inner + y) + 3 * y))


class Scale(torch.nn.Module):
    """Multiplies, and needs to know nothing of channels."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


def test_a_trace_gives_the_shapes_of_every_module_and_changes_nothing():
    net = MODELS.build(dict(type='mmblocks.GhostNet', width=0.5))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    shapes = trace(net, 64)
    before, after = shapes['blocks.0.0']
    assert (tuple(before), tuple(after)) == ((1, 8, 32, 32), (1, 8, 32, 32))
    assert_close(dict(net.state_dict()), state, rtol=0, atol=0)
    assert not any(m._forward_hooks for m in net.modules())
