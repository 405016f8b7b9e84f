"""Every argument of every net, neck and layer: what cannot work is named, in one line."""

import inspect
import math
import re

import pytest
import torch
from torch import nn

import mmblocks
from mmblocks import backbones, layers, necks
from tests.backbones.nets import NETS

# The smallest form of each class, but for nets, of which tests.backbones.nets has it.
SMALL = dict(
    AKConv=dict(in_channels=8),
    BasicBlock=dict(inplanes=8, planes=8),
    Bottleneck=dict(inplanes=32, planes=8),
    C2f=dict(in_channels=8, out_channels=8),
    C3=dict(in_channels=8, out_channels=8),
    CBAM=dict(in_channels=8),
    ChannelShuffle=dict(groups=2),
    Conv2dSamePadding=dict(in_channels=8, out_channels=8, kernel_size=3),
    DarknetBottleneck=dict(in_channels=8, out_channels=8),
    DeformConv2d=dict(in_channels=8, out_channels=8, kernel_size=3),
    DeformConv2dPack=dict(in_channels=8, out_channels=8, kernel_size=3),
    DenseBlock=dict(num_layers=2, in_channels=8, growth_rate=4),
    DenseLayer=dict(in_channels=8, growth_rate=4),
    DenseTransition=dict(in_channels=8, out_channels=4),
    DepthwiseSeparableConv=dict(in_channels=8, out_channels=8),
    ECA=dict(in_channels=8),
    EdgeResidual=dict(in_channels=8, out_channels=8, mid_channels=16),
    FPN=dict(in_channels=[8, 16], out_channels=8, num_outs=3),
    FireModule=dict(in_channels=8, squeeze_channels=4, expand1x1_channels=8, expand3x3_channels=8),
    Focus=dict(in_channels=3, out_channels=8),
    GhostBottleneck=dict(in_channels=8, mid_channels=16, out_channels=8),
    GhostModule=dict(in_channels=8, out_channels=8),
    Inception=dict(in_channels=8, ch1x1=4, ch3x3red=4, ch3x3=4, ch5x5red=4, ch5x5=4, pool_proj=4),
    InceptionAux=dict(in_channels=8, num_classes=3),
    InceptionDWConv2d=dict(in_channels=32),
    InvertedResidual=dict(in_channels=8, out_channels=8, mid_channels=16),
    LastLevelMaxPool=dict(in_channels=8, out_channels=8),
    LastLevelP6P7=dict(in_channels=8, out_channels=8),
    MetaNeXtBlock=dict(in_channels=32),
    ModulatedDeformConv2d=dict(in_channels=8, out_channels=8, kernel_size=3),
    ModulatedDeformConv2dPack=dict(in_channels=8, out_channels=8, kernel_size=3),
    PreActBasicBlock=dict(inplanes=8, planes=8),
    PreActBottleneck=dict(inplanes=32, planes=8),
    SELayer=dict(channels=32),
    SEModule=dict(channels=32),
    SENet154Bottleneck=dict(inplanes=32, planes=8),
    SENetBasicBlock=dict(inplanes=8, planes=8),
    SENetBottleneck=dict(inplanes=32, planes=8),
    SPPBottleneck=dict(in_channels=8, out_channels=8),
    ShuffleUnit=dict(in_channels=24, out_channels=24),
    ShuffleUnitV2=dict(in_channels=8, out_channels=8),
    SqueezeExcite=dict(channels=8, squeeze_channels=4),
    UniversalInvertedResidual=dict(in_channels=8, out_channels=8, mid_channels=16),
)
ABSTRACT = {'BaseBackbone', 'TopBlock'}

NOT_DICTS = (0, -1, True, 'BN', [], 1.5, {}, dict(kind='BN'), dict(type=None))
LAYER = (*NOT_DICTS, dict(type='XX'))
WRONG = {
    'int': (0, -7, None, '3', 2.5, 2.0, True, [], [3], {}, math.nan),
    'float': (0, -7, None, '1', True, [], {}, math.nan, math.inf),
    'bool': (0, 1, None, 'yes', [], 1.0, {}),
    'str': (0, None, '', 'other', [], True, {}, 1.5),
    'ConfigType': NOT_DICTS,
    'Sequence[int]': (0, 'abc', None, [0] * 4, [-1] * 4, [1.5] * 4, ['1'] * 4, [True] * 4, {}),
    'Sequence[bool]': (True, None, [], [2] * 4, ['a'] * 4, [True] * 3, {}),
    'Sequence[ConfigType]': (0, 'abc', True, {}, [0], ['ECA'], [{}], [dict(cfg='ECA')]),
    'tuple[int, int]': (-1, '3', 2.5, True, [], [1], [3, 3, 3], ['1', '1'], {}, [1.5, 1]),
    'nn.Module': (0, 'conv', [], {}, True),
}
# Layers that a config names: what they are tried on, or built with, shows more.
WRONG_BY_NAME = dict(
    norm_cfg=(
        *LAYER,
        dict(type='BN', epsilon=1),
        dict(type='GN'),
        dict(type='GN', num_groups=0),
        dict(type='GN', num_groups=7),
        dict(type='LN'),
        dict(type='BN1d'),
        dict(type='ReLU'),
    ),
    act_cfg=(*LAYER, dict(type='ReLU', inplac=True), dict(type='BN')),
    gate_cfg=(*LAYER, dict(type='Sigmoid', by=2)),
    conv_cfg=(
        *LAYER,
        dict(type='Conv2d', kernels=3),
        dict(type='Conv3d'),
        dict(type='Conv2d', foo=1),
        dict(type='ReLU'),
        dict(type='FPN'),
    ),
    init_cfg=(
        'x',
        0,
        True,
        {},
        ['x'],
        [{}],
        dict(type='XX'),
        dict(type='Pretrained'),
        dict(type='Pretrained', checkpoint=None),
        dict(type='Kaiming'),
        dict(type='Kaiming', layer='Conv2d', gain=2),
    ),
    dcn=LAYER,
    top_block=(*LAYER, dict(type='ReLU'), dict(type='LastLevelP6P7', from_='x')),
    se_cfg=(0, 'x', [], True, 1.5),
    upsample_cfg=(0, 'x', [], True, None, dict(mode='near'), dict(size=3, foo=1)),
    arch=({}, dict(widths=3), [], True, 0, 1.5, None, 'b99'),
    arch_ovewrite=([], {}, 'P5', 0, [[1, 2]], [[64, 128, 3, True, 2]], [3]),
    num_classes=(0, -2, None, '10', 1.5, True, []),
    add_extra_convs=('input', None, 2, [], {}),
    start_level=(-1, 2, None, '1', 1.5, True, []),
    end_level=(-2, 2, None, '1', 1.5, True, []),
    bias=(None, 'no', 2, [], {}, 1.5),
    output_stride=(0, 4, None, '8', 8.5, True, []),
    source=(0, None, 'on_top', [], True),
    drop_rate=(-1, 2, None, 'a', True, math.nan),
    aux_drop_rate=(-1, 2, None, 'a', True, math.nan),
    drop_path_rate=(-1, 1, None, 'a', True, math.nan),
    kernel_sizes=(0, 'a', None, [2], [1.5], [True], {}),
    spp_kernal_sizes=(0, 'a', None, [2], [1.5], [True], {}),
    pretrained=(0, True, [], {}),
    with_cp=(0, 1, None, 'yes', 'norm', [], 1.0, {}),
)
# A padding of 0 is none, as is a layer scale or a squeeze-and-excitation of 0.
MAY_BE_ZERO = {'padding', 'layer_scale_init_value', ('GhostBottleneck', 'se_ratio'), 'beta'}
MAY_BE_NEGATIVE = {'beta'}


def public_classes():
    for module in (backbones, necks, layers):
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isclass(found) and issubclass(found, nn.Module) and name not in ABSTRACT:
                yield found


def small_forms():
    nets = {net.cfg['type']: dict(net.cfg) for net in NETS}
    for cls in public_classes():
        cfg = nets.get(cls.__name__) or SMALL.get(cls.__name__)
        yield cls, {key: value for key, value in cfg.items() if key != 'type'}


def parameters_of(cls):
    """The arguments of a constructor, those that it hands on to its parents included."""
    found = {}
    for parent in cls.__mro__:
        if '__init__' not in vars(parent):
            continue
        parameters = list(inspect.signature(parent.__init__).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return found.values()
    return found.values()


def cases():
    for cls, cfg in small_forms():
        for parameter in parameters_of(cls):
            if parameter.name in ('frozen_stages', 'out_indices'):
                continue  # test_contract holds these for every net
            yield pytest.param(cls, cfg, parameter, id=f'{cls.__name__}-{parameter.name}')


def wrong_values(cls, parameter):
    name, hint = parameter.name, parameter.annotation
    values = WRONG_BY_NAME.get(name)
    if values is None or (name == 'bias' and hint == 'bool'):
        kinds = hint.removesuffix(' | None').split(' | ')
        # Of one int or two, what is wrong is told by the two.
        values = WRONG[kinds[-1]]
    for value in values:
        is_zero = value == 0 and type(value) is int
        if (value is None and hint.endswith('None')) or (value == -7 and name in MAY_BE_NEGATIVE):
            continue
        if not (is_zero and MAY_BE_ZERO & {name, (cls.__name__, name)}):
            yield value


@pytest.mark.parametrize(('cls', 'cfg', 'parameter'), list(cases()))
def test_what_cannot_work_is_named_in_one_line(cls, cfg, parameter):
    name = parameter.name
    accepted = []
    for wrong in wrong_values(cls, parameter):
        options = cfg | {name: wrong}
        if issubclass(cls, mmblocks.ResNet) and name in ('dcn', 'stage_with_dcn'):
            options = dict(dcn=dict(type='DCN'), stage_with_dcn=(True,) * 4) | options
        try:
            with torch.device('meta'):
                cls(**options)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert '\n' not in message
            assert re.search(rf'\b{name}\b', message.partition(' must ')[0]), message
            assert any(text in message for text in written(wrong)), message
        else:
            accepted.append(wrong)
    assert not accepted


def written(value):
    """The ways to write a value: whole, or the part of it that is wrong."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    as_tuple = [repr(tuple(value))] if isinstance(value, list | dict) else []
    return [repr(value), *as_tuple, *map(repr, inner)]


def test_every_public_class_is_looked_at():
    nets = {net.cfg['type'] for net in NETS}
    assert {cls.__name__ for cls in public_classes()} == nets | SMALL.keys()


@pytest.mark.parametrize(
    ('cls', 'cfg'), [pytest.param(*f, id=f[0].__name__) for f in small_forms()]
)
def test_the_small_forms_are_right_themselves(cls, cfg):
    with torch.device('meta'):
        assert isinstance(cls(**cfg), nn.Module)


@pytest.mark.parametrize('cls', [mmblocks.GhostNet, mmblocks.SENet, mmblocks.ResNeXt])
def test_an_argument_that_is_handed_on_and_not_there_is_named_with_those_that_are_near(cls):
    message = rf'{cls.__name__}\(\) has no argument frozen_stage=1; did you mean frozen_stages\?'
    with pytest.raises(TypeError, match=message):
        cls(50, frozen_stage=1)
