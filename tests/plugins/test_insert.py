"""Plugins can be put into every net, at every position of its blocks, from the config."""

import copy

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.registry import MODELS
from torch.testing import assert_close

from mmblocks.describe.structure import structure
from mmblocks.layers.focus import Focus
from mmblocks.plugins.build import IdentityStart
from mmblocks.plugins.shapes import module_shapes
from tests.backbones.nets import NETS, build, every_net
from tests.parity import randomise

LAYERS = dict(
    after=dict(type='mmblocks.ECA'), parallel=dict(type='ConvModule', kernel_size=3, padding=1)
)


# Nets whose convolutions all have larger kernels.
WITHOUT_POINTWISE = ('AlexNet', 'LeNet5', 'VGG')


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


def image(net):
    size = 64 if net.shrinks > 1 else 32
    return torch.rand(2, net.in_channels, size, size + 32)


def open_gates(backbone):
    """Lets the plugins that start as the identity have an effect."""
    for module in backbone.modules():
        if isinstance(module, IdentityStart):
            torch.nn.init.constant_(module.gate, 0.5)


@pytest.mark.parametrize('net', [net for net in NETS if net.has_classifier], ids=str)
def test_a_net_with_a_classifier_takes_plugins_and_other_convolutions_too(net):
    with torch.device('meta'):
        plain = build(net, num_classes=3)
        stitched = build(
            net,
            num_classes=3,
            plugins=everywhere(plain.plugin_positions),
            replace_convs=[dict(cfg=dict(type='mmblocks.Conv2dSamePadding'), kernels='pointwise')]
            if net.cfg['type'] not in WITHOUT_POINTWISE
            else None,
        )
        x = torch.rand(2, net.in_channels, net.classifies, net.classifies)
        assert stitched.eval()(x)[-1].shape == (2, 3)
    drawn = structure(dict(net.cfg, num_classes=3, plugins=stitched.plugins))
    assert 'ECA' in drawn


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
        for name in stitched.inserted
        for key in stitched.get_submodule(name).state_dict(prefix=f'{name}.')
    }
    assert set(missing) == added
    assert unexpected == []
    x = image(net)
    for mixed in (True, False):
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=mixed):
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
    plugins = everywhere(build(net).plugin_positions)
    for plugin in plugins:
        plugin['cfg'] = dict(kernel_size=1) | plugin['cfg']
        plugin['cfg'] |= dict(type='ConvModule', norm_cfg=dict(type='BN'))
    backbone = randomise(build(net, plugins=plugins, norm_eval=False)).double()
    open_gates(backbone)
    x = image(net).double()
    results = []
    for recomputes in (False, True):
        twin = copy.deepcopy(backbone).train()
        twin.with_cp = recomputes
        for module in twin.modules():
            if hasattr(module, 'memory_efficient'):
                module.memory_efficient = recomputes
        outs = twin(x)
        sum(out.square().mean() for out in outs).backward()
        grads = {name: p.grad for name, p in twin.named_parameters()}
        results.append((outs, grads, dict(twin.named_buffers())))
    assert_close(results[0][0], results[1][0], rtol=0, atol=0)
    assert_close(results[0][1], results[1][1], rtol=1e-9, atol=1e-12)
    assert_close(results[0][2], results[1][2], rtol=0, atol=0)
    # A copy runs its own plugins, not the original's.
    twin = copy.deepcopy(backbone).eval()
    for parameter in backbone.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        assert any(out.any() for out in twin(x))
    twin.train().set_frozen_stages(twin.num_groups - 1)
    assert [name for name, p in twin.named_parameters() if p.requires_grad] == []


@every_net
def test_a_wrong_position_is_named_with_those_that_there_are(net):
    with pytest.raises(ValueError, match=r"position='after_conv9'; .*after_block, parallel"):
        build(net, plugins=[dict(cfg=LAYERS['after'], position='after_conv9')])


FIRE = dict(
    type='mmblocks.FireModule', squeeze_channels=4, expand1x1_channels=8, expand3x3_channels=8
)


class Sum(torch.nn.Module):
    """Wants two maps."""

    def forward(self, x, y):
        return x + y


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
            dict(cfg=dict(type='mmblocks.SELayer'), position='after_block', stages=True),
            'stages=True must be 4 bools',
        ),
        (
            dict(cfg=dict(type='mmblocks.ECA'), position='after_block', stages='abcd'),
            "stages='abcd' must be 4 bools",
        ),
        (
            dict(cfg=dict(type='mmblocks.ECA'), position='after_block', stages=(True,)),
            'must be 4 bools',
        ),
        (
            dict(cfg=dict(type='mmblocks.ECA'), position='after_block', stages=(True,) * 5),
            'must be 4 bools',
        ),
        (
            dict(cfg=dict(type='ConvModule', kernel_size=3), position='after_block'),
            'ConvModule at after_block makes 8x62x62 of 8x64x64, but 8x64x64 is needed there',
        ),
        (
            dict(cfg=dict(type='ConvModule', kernel_size=3), position='parallel'),
            'ConvModule at parallel makes 8x62x62 of 8x64x64, but 8x64x64 is needed there',
        ),
        (dict(cfg=FIRE, position='after_conv2'), 'FireModule at after_conv2 makes 16x64x64 of 8x'),
        (
            dict(cfg=dict(type=Sum), position='after_conv2'),
            'Sum at after_conv2 does not fit: it cannot take 8x64x64: .*missing 1 required',
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
    with pytest.raises(ValueError, match=expected):
        MODELS.build(dict(type='mmblocks.ResNet', depth=18, base_channels=8, plugins=[plugin]))


@pytest.mark.parametrize(
    ('cfg', 'position', 'expected'),
    [
        (FIRE, 'after_block', 'makes 16x128x128 of 64x128x128, but 64x128x128 is needed'),
        (dict(type=Focus), 'after_block', 'makes 64x64x64 of 64x128x128'),
        (dict(type=Focus), 'parallel', 'makes 64x64x64 of 3x256x256'),
    ],
)
def test_what_does_not_fit_a_stage_without_blocks_is_explained(cfg, position, expected):
    with pytest.raises(ValueError, match=expected):
        MODELS.build(
            dict(type='mmblocks.VGG', depth=11, plugins=[dict(cfg=cfg, position=position)])
        )


def test_stages_that_were_not_built_may_be_named_but_none_that_the_net_does_not_have():
    net = dict(type='mmblocks.ResNet', depth=18, base_channels=8)
    eca = dict(cfg=dict(type='mmblocks.ECA'), position='after_block')
    last = dict(eca, stages=(False, False, False, True))
    for out_indices in ((0, 1), (-3,)):
        MODELS.build(dict(net, out_indices=out_indices, plugins=[last]))
    short = dict(net, num_stages=2, strides=(1, 2), dilations=(1, 1))
    for out_indices in ((0, 1), (-1,)):
        with pytest.raises(ValueError, match='must be 2 bools'):
            MODELS.build(dict(short, out_indices=out_indices, plugins=[last]))


@pytest.mark.parametrize('init', ['identity', None])
@pytest.mark.parametrize('net', ['ResNet', 'MobileNetV2', 'VGG'])
def test_a_layer_that_works_in_place_touches_no_map_but_its_own(net, init):
    cfg = dict(type=f'mmblocks.{net}', out_indices=(0, 1))
    cfg |= dict(depth=18, base_channels=8) if net == 'ResNet' else {}
    cfg |= dict(depth=11) if net == 'VGG' else {}
    plain = randomise(MODELS.build(cfg)).eval()
    x = torch.randn(2, 3, 32, 32)
    before = x.clone()
    expected = plain(x)
    num_stages = len(plain._stage_groups)
    for position in plain.plugin_positions:
        for i in range(num_stages):
            layer = dict(type='ConvModule', kernel_size=1, order=('act', 'conv', 'norm'))
            stages = [k == i for k in range(num_stages)]
            plugin = dict(cfg=layer, position=position, stages=stages, init=init)
            if net == 'MobileNetV2' and position == 'after_conv1' and i == 0:
                continue  # its first block has no such convolution
            stitched = MODELS.build(dict(cfg, plugins=[plugin])).eval()
            stitched.load_state_dict(plain.state_dict(), strict=False)
            outs = stitched(x)
            assert torch.equal(x, before)
            # Maps of the stages before the plugin's, and of all where it starts as the identity.
            same = 2 if init == 'identity' else i
            assert_close(outs[:same], expected[:same], rtol=0, atol=0)
            sum(out.square().mean() for out in outs).backward()


def test_a_plugin_of_se_is_not_a_block_s_own():
    net = dict(type='mmblocks.ResNet', depth=18, base_channels=16)
    plugin = dict(cfg=dict(type='mmblocks.SELayer'), position='after_conv1', init='identity')
    plain = randomise(MODELS.build(net)).eval()
    stitched = MODELS.build(dict(net, plugins=[plugin])).eval()
    stitched.load_state_dict(plain.state_dict(), strict=False)
    x = torch.rand(1, 3, 32, 32)
    assert_close(stitched(x), plain(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="two parts named 'se_layer'; give one of them a postfix"):
        MODELS.build(dict(net, type='mmblocks.SEResNet', depth=50, plugins=[plugin]))


@pytest.mark.parametrize(
    'kind', ['mmblocks.DeformConv2d', 'mmblocks.ModulatedDeformConv2d', 'DCNv2']
)
def test_a_deformable_plugin_finds_its_offsets_itself(kind):
    layer = dict(type=kind, kernel_size=3, padding=1)
    stages = (False, False, False, True)
    plugin = dict(cfg=layer, position='after_block', stages=stages)
    net = MODELS.build(
        dict(type='mmblocks.ResNet', depth=18, base_channels=8, plugins=[plugin])
    ).eval()
    assert net(torch.rand(1, 3, 32, 32))[3].shape == (1, 64, 1, 1)


@pytest.mark.parametrize(
    'net', [net for net in NETS if net.cfg['type'] in ('DenseNet', 'PreActSEResNet')], ids=str
)
def test_folding_norms_leaves_those_alone_that_have_a_plugin_in_front(net):
    backbone = randomise(build(net, plugins=everywhere(('after_conv1',), init=None))).eval()
    x = image(net)
    with torch.no_grad():
        expected = backbone(x)
        assert_close(fuse_conv_bn(backbone)(x), expected, rtol=1e-3, atol=1e-4)


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


def test_module_shapes_are_those_of_every_module_and_changes_nothing():
    net = MODELS.build(dict(type='mmblocks.GhostNet', widen_factor=0.5))
    state = {key: value.clone() for key, value in net.state_dict().items()}
    shapes = module_shapes(net, 64)
    before, after = shapes['blocks.0.0']
    assert (tuple(before), tuple(after)) == ((8, 32, 32), (8, 32, 32))
    assert_close(dict(net.state_dict()), state, rtol=0, atol=0)
    assert not any(m._forward_hooks for m in net.modules())


def test_compiled_code_of_one_net_does_not_serve_one_with_other_plugins():
    net = dict(type='mmblocks.ResNet', depth=18, base_channels=8, out_indices=0)
    x = torch.rand(1, 3, 32, 32)
    for positions in ((), ('after_conv1',), ('after_conv2',), ('after_block',)):
        plugins = everywhere(positions, init=None)
        backbone = randomise(MODELS.build(dict(net, plugins=plugins))).eval()
        with torch.no_grad():
            compiled = torch.compile(backbone, backend='eager')(x)
            assert_close(compiled, backbone(x), rtol=0, atol=0)
