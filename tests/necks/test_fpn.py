"""FPN: equal to mmdet's and torchvision's; foreign keys; bad arguments."""

import copy
import inspect

import pytest
import torch
from mmengine.registry import MODELS
from mmengine.runner import load_state_dict
from torch import nn

from mmblocks import FPN
from tests.parity import assert_same_maps, gradients, randomise

CHANNELS = (8, 12, 16, 20)
# Odd sizes: each is half of the one before, rounded up, as a backbone makes them.
SIZES = ((45, 67), (23, 34), (12, 17), (6, 9))


def maps(dtype=torch.float32):
    return [torch.rand(2, c, *size, dtype=dtype) for c, size in zip(CHANNELS, SIZES, strict=True)]


MMDET_VARIANTS = {
    'plain': dict(num_outs=4),
    'max pool': dict(num_outs=5),
    'on_input': dict(num_outs=5, start_level=1, add_extra_convs='on_input'),
    'True': dict(num_outs=6, add_extra_convs=True),
    'on_lateral': dict(num_outs=6, start_level=1, add_extra_convs='on_lateral'),
    'on_output': dict(num_outs=6, add_extra_convs='on_output', relu_before_extra_convs=True),
    'end_level': dict(num_outs=2, start_level=1, end_level=2),
    'one level': dict(num_outs=1, start_level=3),
    'norms': dict(
        num_outs=5,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
        no_norm_on_lateral=True,
        add_extra_convs='on_input',
    ),
    'norms everywhere': dict(num_outs=4, norm_cfg=dict(type='GN', num_groups=4)),
    'bilinear': dict(num_outs=4, upsample_cfg=dict(mode='bilinear', align_corners=False)),
}


def mmdet_pair(models, variant):
    options = dict(in_channels=list(CHANNELS), out_channels=16, **MMDET_VARIANTS[variant])
    theirs = randomise(models.build(dict(type='mmdet.FPN', **options)))
    theirs.eval()
    ours = FPN(**options).eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize('variant', MMDET_VARIANTS)
def test_it_equals_mmdet(variant, mmdet_models):
    ours, theirs = mmdet_pair(mmdet_models, variant)
    x = maps()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.mark.parametrize('variant', ['on_input', 'on_output', 'norms'])
def test_gradients_equal_mmdets(variant, mmdet_models):
    ours, theirs = mmdet_pair(mmdet_models, variant)
    x = maps(torch.float64)

    def run(neck):
        return gradients(neck, lambda first: neck([first, *x[1:]]), x[0])

    (grads, _), (their_grads, _) = run(ours.double()), run(theirs.double())
    assert grads.keys() == their_grads.keys()
    for name, grad in their_grads.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-8, atol=1e-8)


def test_the_signature_is_mmdets_and_one_more(mmdet_models):
    theirs = inspect.signature(mmdet_models.get('mmdet.FPN').__init__).parameters
    *ours, top_block = inspect.signature(FPN.__init__).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs.values()]
    assert (top_block.name, top_block.default) == ('top_block', None)


def torchvision_fpn(peer, extra, norm_layer=None):
    fpn = peer('torchvision.ops.feature_pyramid_network')
    extra_blocks = dict(
        none=lambda: None,
        max_pool=fpn.LastLevelMaxPool,
        on_input=lambda: fpn.LastLevelP6P7(CHANNELS[-1], 16),
        on_output=lambda: fpn.LastLevelP6P7(16, 16),
    )[extra]()
    return fpn.FeaturePyramidNetwork(list(CHANNELS), 16, extra_blocks, norm_layer=norm_layer)


TOP_BLOCKS = {
    'none': (4, None),
    'max_pool': (5, dict(type='LastLevelMaxPool')),
    'on_input': (6, dict(type='LastLevelP6P7', source='on_input')),
    'on_output': (6, dict(type='mmblocks.LastLevelP6P7', source='on_output')),
}


@pytest.mark.parametrize('extra', TOP_BLOCKS)
@pytest.mark.parametrize('norm', [None, nn.BatchNorm2d])
def test_it_equals_torchvision_and_loads_its_keys(extra, norm, peer):
    theirs = randomise(torchvision_fpn(peer, extra, norm)).eval()
    num_outs, top_block = TOP_BLOCKS[extra]
    ours = FPN(
        CHANNELS, 16, num_outs, top_block=top_block, norm_cfg=norm and dict(type='BN')
    ).eval()
    ours.load_state_dict(theirs.state_dict())
    x = maps()
    named = {str(i): feature for i, feature in enumerate(x)}
    with torch.no_grad():
        assert_same_maps(ours(x), list(theirs(named).values()))


def test_top_block_gradients_equal_torchvisions(peer):
    theirs = randomise(torchvision_fpn(peer, 'on_output')).double()
    ours = FPN(CHANNELS, 16, 6, top_block=TOP_BLOCKS['on_output'][1]).double()
    ours.load_state_dict(theirs.state_dict())
    x = maps(torch.float64)
    _, dx = gradients(ours, lambda first: ours([first, *x[1:]]), x[0])
    _, their_dx = gradients(
        theirs,
        lambda first: list(theirs(dict(enumerate([first, *x[1:]]))).values()),
        x[0],
    )
    torch.testing.assert_close(dx, their_dx, rtol=1e-8, atol=1e-8)


def test_p6p7_on_the_lateral_is_mmdets_with_a_relu(mmdet_models):
    theirs = randomise(
        mmdet_models.build(
            dict(
                type='mmdet.FPN',
                in_channels=list(CHANNELS),
                out_channels=16,
                num_outs=6,
                add_extra_convs='on_lateral',
                relu_before_extra_convs=True,
            )
        )
    )
    ours = FPN(CHANNELS, 16, 6, top_block=dict(type='LastLevelP6P7', source='on_lateral'))
    renamed = {
        k.replace('fpn_convs.4.conv', 'top_block.p6').replace('fpn_convs.5.conv', 'top_block.p7'): v
        for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict(renamed)
    x = maps()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.mark.parametrize('first_stage', [2, 3])
@pytest.mark.parametrize('norm', [None, dict(type='BN')])
@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
def test_detectron2_keys_load_alone_and_inside_a_model(first_stage, norm, load):
    source = randomise(
        FPN(CHANNELS, 16, 6, norm_cfg=norm, top_block=dict(type='LastLevelP6P7'))
    ).eval()

    def detectron2_name(key):
        kind, *rest = key.split('.')
        if kind == 'top_block':
            return key
        stage = first_stage + int(rest[0])
        part = {'lateral_convs': 'fpn_lateral', 'fpn_convs': 'fpn_output'}[kind]
        layer = '' if rest[1] == 'conv' else '.norm'
        return f'{part}{stage}{layer}.{rest[2]}'

    theirs = {detectron2_name(k): v for k, v in source.state_dict().items()}
    x = maps()
    alone = copy.deepcopy(source)
    inside = nn.ModuleDict(dict(backbone=nn.Conv2d(3, 3, 1), neck=copy.deepcopy(source)))
    for neck, model, prefix in ((alone, alone, ''), (inside['neck'], inside, 'neck.')):
        randomise(neck, seed=5)
        rest = {k: v for k, v in model.state_dict().items() if k.startswith('backbone')}
        load(model, {prefix + k: v for k, v in theirs.items()} | rest, strict=True)
        with torch.no_grad():
            assert_same_maps(neck.eval()(x), source(x))


def test_keys_of_old_torchvision_files_load(peer):
    theirs = randomise(torchvision_fpn(peer, 'none'))
    old = {
        k.replace('.0.weight', '.weight').replace('.0.bias', '.bias'): v
        for k, v in theirs.state_dict().items()
    }
    assert 'inner_blocks.0.weight' in old
    ours = FPN(CHANNELS, 16, 4)
    ours.load_state_dict(old)
    torch.testing.assert_close(ours.lateral_convs[1].conv.weight, theirs.inner_blocks[1][0].weight)


def test_inputs_that_do_not_fit_are_told_what_to_write():
    neck = FPN((8, 12), 16, 2)
    with pytest.raises(ValueError, match=r'write in_channels=\[8, 12, 16, 20\]'):
        neck(maps())
    with pytest.raises(ValueError, match=r'gives 2 maps with \[12, 8\] channels'):
        neck(maps()[1::-1])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_outs=3), 'num_outs=3.*at least 4'),
        (dict(num_outs=5, start_level=4), 'start_level=4'),
        (dict(num_outs=5, end_level=4), 'end_level=4.*end_level <= 3'),
        (dict(num_outs=5, end_level=6), 'end_level=6.*end_level <= 3'),
        (dict(num_outs=5, add_extra_convs='on_inputs'), "add_extra_convs='on_inputs'.*on_input"),
        (dict(num_outs=5, top_block=dict(type='LastLevelP6P7')), 'write num_outs=6'),
        (
            dict(num_outs=6, top_block=dict(type='LastLevelP6P7', source='on_top')),
            "source='on_top'",
        ),
        (
            dict(num_outs=5, add_extra_convs=True, top_block=dict(type='LastLevelMaxPool')),
            'give one',
        ),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        FPN(CHANNELS, 16, **options)


def test_a_misspelt_top_block_is_an_error_with_a_hint():
    with pytest.raises(ValueError, match=r'top_block.*did you mean LastLevelMaxPool'):
        FPN(CHANNELS, 16, 5, top_block=dict(type='LastLevelMaxpool'))


def test_extra_convs_without_an_extra_level_are_called_out():
    with pytest.warns(UserWarning, match='no effect'):
        FPN(CHANNELS, 16, 4, add_extra_convs='on_input')


def test_no_config_is_changed_by_building():
    cfg = dict(
        type='mmblocks.FPN',
        in_channels=CHANNELS,
        out_channels=16,
        num_outs=6,
        norm_cfg=dict(type='BN'),
        upsample_cfg=dict(mode='nearest'),
        top_block=dict(type='LastLevelP6P7', source='on_output'),
    )
    before = copy.deepcopy(cfg)
    for _ in range(2):
        MODELS.build(cfg)
    assert cfg == before


def test_every_parameter_gets_a_gradient_and_init_weights_runs():
    for _, top_block in list(TOP_BLOCKS.values())[1:]:
        num_outs = 5 if top_block['type'] == 'LastLevelMaxPool' else 6
        neck = FPN(CHANNELS, 16, num_outs, top_block=top_block)
        neck.init_weights()
        assert all((p == 0).all() for n, p in neck.named_parameters() if n.endswith('bias'))
        sum(out.square().sum() for out in neck(maps())).backward()
        assert all(p.grad is not None for p in neck.parameters())


def test_init_cfg_has_the_last_word():
    # A ConvModule that MMEngine finds by itself would go back to its own initialisation.
    neck = FPN(CHANNELS, 16, 5, init_cfg=dict(type='Constant', val=0.5, layer='Conv2d'))
    neck.init_weights()
    assert all((p == 0.5).all() for n, p in neck.named_parameters() if n.endswith('weight'))
