"""Drawn combinations of options: whatever can be asked for keeps every promise at once."""

import copy

import torch
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from mmengine.registry import MODELS
from torch.testing import assert_close

import mmblocks
from tests.backbones.nets import NETS, Net
from tests.parity import randomise

# Nothing is shrunk: a failure names its config as it is, and shrinking nets takes minutes.
examples = settings(
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
NORMS = (dict(type='BN'), dict(type='SyncBN'), dict(type='GN', num_groups=1))
DCNS = (None, dict(type='DCN', deform_groups=1), dict(type='DCNv2', fallback_on_stride=True))


@st.composite
def common_options(draw, num_outputs):
    """Options that every backbone takes."""
    outputs = st.lists(
        st.integers(0, num_outputs - 1), min_size=1, max_size=min(4, num_outputs), unique=True
    )
    out_indices = draw(outputs)
    return dict(
        out_indices=out_indices,
        frozen_stages=draw(st.integers(-1, max(out_indices))),
        norm_cfg=draw(st.sampled_from(NORMS)),
        norm_eval=draw(st.booleans()),
        with_cp=draw(st.booleans()),
    )


@st.composite
def any_net(draw):
    """A net of the table with common options."""
    net = draw(st.sampled_from(NETS))
    options = draw(common_options(net.num_outputs))
    return net._replace(cfg=dict(net.cfg, **options))


@st.composite
def any_resnet(draw):
    """A ResNet of any kind with all its options."""
    kind = draw(st.sampled_from(['ResNet', 'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'SEResNet']))
    depth = draw(st.sampled_from([50] if kind == 'ResNeXt' else [18, 34, 50]))
    num_stages = draw(st.integers(1, 4))
    pattern = draw(st.sampled_from([((1, 2, 2, 2), (1, 1, 1, 1)), ((1, 2, 2, 1), (1, 1, 1, 2)),
                                    ((1, 2, 1, 1), (1, 1, 2, 4))]))  # fmt: skip
    strides, dilations = (values[:num_stages] for values in pattern)
    flags = st.lists(st.booleans(), min_size=num_stages, max_size=num_stages).filter(any)
    positions = ('after_conv1', 'after_conv2', 'after_conv3')[: 2 if depth < 50 else 3]
    places = draw(st.lists(st.sampled_from(positions), max_size=3))
    dcn = draw(st.sampled_from(DCNS))
    options = dict(
        type=kind,
        depth=depth,
        base_channels=8,
        in_channels=draw(st.sampled_from([1, 3, 4])),
        num_stages=num_stages,
        strides=strides,
        dilations=dilations,
        style=draw(st.sampled_from(['pytorch', 'caffe'])),
        plugins=[
            dict(
                cfg=dict(type='ContextBlock', ratio=0.5, postfix=i),
                stages=draw(flags),
                position=place,
            )
            for i, place in enumerate(places)
        ]
        or None,
        **draw(common_options(num_stages)),
    )
    if kind == 'ResNeXt':
        options.update(groups=4, base_width=4)
    if kind in ('ResNet', 'ResNeXt', 'SEResNet'):
        options.update(deep_stem=draw(st.booleans()), avg_down=draw(st.booleans()))
    if dcn:
        options.update(dcn=dcn, stage_with_dcn=draw(flags))
    return Net(options, num_stages, options['in_channels'])


def keeps_every_promise(net, height, width):
    cfg, in_channels = net.cfg, net.in_channels
    note(f'{cfg}, {height}x{width}')
    before = copy.deepcopy(cfg)
    backbone = MODELS.build(dict(cfg, type=f'mmblocks.{cfg["type"]}'))
    assert cfg == before
    randomise(backbone).double().train()
    x = torch.rand(2, in_channels, height, width, dtype=torch.float64)
    results = []
    for with_cp in (False, True):
        twin = copy.deepcopy(backbone).train()
        twin.with_cp = with_cp
        maps = twin(x)
        loss = sum(m.square().mean() for m in maps)
        if loss.requires_grad:  # not where all that runs is frozen
            loss.backward()
        grads = {name: p.grad for name, p in twin.named_parameters() if p.requires_grad}
        assert [name for name, grad in grads.items() if grad is None] == []
        results.append((maps, grads, dict(twin.named_buffers())))
    (maps, grads, stats), (maps_cp, grads_cp, stats_cp) = results
    assert_close(maps_cp, maps, rtol=0, atol=0)
    assert_close(grads_cp, grads, rtol=1e-9, atol=1e-12)
    assert_close(stats_cp, stats, rtol=0, atol=0)
    info = mmblocks.feature_info(cfg)
    for m, (channels, stride) in zip(maps, info, strict=True):
        assert m.shape[:2] == (2, channels)
        assert net.expects(m.shape[2:], (height, width), stride), m.shape
    again = MODELS.build(dict(cfg, type=f'mmblocks.{cfg["type"]}')).double().eval()
    again.load_state_dict(backbone.state_dict())
    assert_close(again(x), backbone.eval()(x))


# mmcv's deformable convolutions refuse maps that are smaller than their kernel.
sizes = st.integers(65, 90)


@settings(examples, max_examples=24)
@given(any_net(), sizes, sizes)
def test_every_net_with_any_common_options(net, height, width):
    keeps_every_promise(net, height, width)


@settings(examples, max_examples=16)
@given(any_resnet(), sizes, sizes)
def test_resnets_with_any_of_their_options(net, height, width):
    keeps_every_promise(net, height, width)
