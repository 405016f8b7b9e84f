"""Deformable convolutions against mmcv's compiled ops, plain convolutions and their promises."""

import copy
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.registry import MODELS
from torch.testing import assert_close

from mmblocks import ResNet
from mmblocks.layers import (
    DeformConv2d,
    DeformConv2dPack,
    ModulatedDeformConv2d,
    ModulatedDeformConv2dPack,
)
from mmblocks.layers.deform_base import compiled_ops
from tests.parity import assert_same_gradients, assert_same_maps, randomise

CLASSES = [DeformConv2d, ModulatedDeformConv2d]
PACKS = [DeformConv2dPack, ModulatedDeformConv2dPack]
SETTINGS = {
    'plain': dict(kernel_size=3, padding=1),
    'no padding': dict(kernel_size=2),
    'stride, dilation': dict(kernel_size=3, stride=2, padding=2, dilation=2),
    'groups': dict(kernel_size=3, padding=1, groups=2, deform_groups=4),
    'more groups': dict(kernel_size=1, groups=4, deform_groups=2),
    'one for rows, one for columns': dict(
        kernel_size=(2, 3), stride=(2, 1), padding=(0, 2), dilation=(1, 2), deform_groups=2
    ),
}


def mmcv_ops(name):
    import mmcv.ops

    return getattr(mmcv.ops, name)


def inputs_for(conv, size=(7, 10), batch=2, spread=2.0, dtype=torch.float64):
    """A map, offsets that partly leave it, and for a modulated convolution a mask."""
    x = torch.randn(batch, conv.in_channels, *size, dtype=dtype)
    plain = torch.nn.Conv2d(1, 1, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    out = plain(torch.zeros(1, 1, *size)).shape[2:]
    taps = conv.deform_groups * conv.num_points
    offset = torch.randn(batch, 2 * taps, *out, dtype=dtype) * spread
    mask = torch.rand(batch, taps, *out, dtype=dtype)
    return [x, offset, mask] if isinstance(conv, ModulatedDeformConv2d) else [x, offset]


def outputs_and_gradients(conv, inputs):
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out = conv(*inputs)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out)
    return [out, *torch.autograd.grad(out, [*inputs, *conv.parameters()], grad)]


@pytest.fixture(params=['torch', 'mmcv'])
def backend(request):
    if request.param == 'mmcv':
        request.getfixturevalue('on_compiled')
    return request.param


def paired(cls, **settings):
    """One of ours and mmcv's own with the same weights, in float64."""
    ours = randomise(cls(4, 8, **settings).double())
    theirs = mmcv_ops(cls.__name__)(4, 8, **settings).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.usefixtures('on_compiled')
def test_outputs_and_gradients_are_mmcvs(cls, settings):
    ours, theirs = paired(cls, **settings)
    inputs = inputs_for(ours)
    for a, b in zip(
        outputs_and_gradients(ours, inputs), outputs_and_gradients(theirs, inputs), strict=True
    ):
        assert b.abs().max() > 1e-2
        assert_close(a, b, rtol=0, atol=1e-12 * max(1, b.abs().max().item()))


@pytest.mark.parametrize('size', [(5, 7), (16, 8), (13, 40)])
@pytest.mark.parametrize('cls', CLASSES)
@pytest.mark.usefixtures('on_compiled')
def test_gradients_on_whole_pixels_are_mmcvs(cls, size):
    """Where training starts: the slope jumps there, and one side has to be chosen."""
    ours, theirs = paired(cls, kernel_size=3, padding=1)
    x, offset, *mask = inputs_for(ours, size)
    for whole in (torch.zeros_like(offset), offset.round()):
        inputs = [x, whole, *mask]
        for a, b in zip(
            outputs_and_gradients(ours, inputs), outputs_and_gradients(theirs, inputs), strict=True
        ):
            assert_close(a, b, rtol=0, atol=1e-12 * max(1, b.abs().max().item()))
        single = [tensor.float() for tensor in inputs]
        a = outputs_and_gradients(copy.deepcopy(ours).float(), single)[2]
        b = outputs_and_gradients(copy.deepcopy(theirs).float(), single)[2]
        assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


@pytest.mark.parametrize('size', [(1, 1), (1, 5), (5, 1), (2, 2)])
@pytest.mark.usefixtures('on_compiled')
def test_maps_may_be_smaller_than_the_kernel(size):
    ours, theirs = paired(ModulatedDeformConv2d, kernel_size=3, padding=1)
    x, offset, mask = inputs_for(ours, size, spread=0.7)
    for a, b in zip(
        outputs_and_gradients(ours, [x, offset, mask]),
        outputs_and_gradients(theirs, [x, offset, mask]),
        strict=True,
    ):
        assert_close(a, b, rtol=0, atol=1e-12)
    plain = DeformConv2d(4, 8, 3, padding=1, bias=True).double()
    plain.load_state_dict(ours.state_dict())
    assert_close(plain(x, offset), ours(x, offset, torch.ones_like(mask)))


@pytest.mark.parametrize('far', [1e4, -1e4, 1e30, float('inf'), -float('inf')])
def test_offsets_far_out_find_zeros(far):
    conv = randomise(ModulatedDeformConv2d(4, 8, 3, padding=1))
    x, offset, mask = inputs_for(conv, dtype=torch.float32)
    out, dx, d_offset, *_ = outputs_and_gradients(conv, [x, torch.full_like(offset, far), mask])
    assert_close(out, conv.bias.view(-1, 1, 1).expand_as(out))
    assert not dx.any()
    assert not d_offset.any()


@pytest.mark.parametrize('settings', SETTINGS.values(), ids=SETTINGS)
def test_without_offsets_it_is_a_plain_convolution(settings):
    conv = randomise(ModulatedDeformConv2d(4, 8, **settings))
    x, offset, mask = inputs_for(conv, dtype=torch.float32)
    plain = {k: v for k, v in settings.items() if k not in ('kernel_size', 'deform_groups')}
    expected = F.conv2d(x, conv.weight, conv.bias, **plain)
    assert_close(conv(x, offset * 0, mask * 0 + 1), expected, rtol=0, atol=1e-5)
    v1 = DeformConv2d(4, 8, bias=True, **settings)
    v1.load_state_dict(conv.state_dict())
    assert_close(v1(x, offset * 0), expected, rtol=0, atol=1e-5)


def test_gradients_are_those_of_finite_differences():
    conv = randomise(ModulatedDeformConv2d(2, 2, 2, padding=1, deform_groups=2).double())
    x, offset, mask = inputs_for(conv, (3, 4), batch=1)
    # Away from pixels, where there is no derivative.
    offset = offset.round() + 0.2 + 0.6 * torch.rand_like(offset)
    inputs = [tensor.requires_grad_() for tensor in (x, offset, mask)]
    assert torch.autograd.gradcheck(conv, inputs)


@pytest.mark.parametrize('deform_groups', [1, 2])
@pytest.mark.parametrize(
    ('cls', 'name'), [(DeformConv2dPack, 'DCN'), (ModulatedDeformConv2dPack, 'DCNv2')]
)
@pytest.mark.usefixtures('on_compiled')
def test_a_pack_is_mmcvs_with_weights_moved_both_ways(cls, name, deform_groups):
    mmcv_ops(cls.__name__)
    cfg = dict(in_channels=4, out_channels=6, kernel_size=3, padding=1, stride=2)
    cfg['deform_groups'] = deform_groups
    theirs = randomise(MODELS.build(dict(type=name, **cfg)))
    ours = MODELS.build(dict(type=f'mmblocks.{cls.__name__}', **cfg))
    assert type(ours) is cls
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    back = MODELS.build(dict(type=name, **cfg))
    back.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 7, 9)
    assert_same_maps([ours(x)], [theirs(x)])
    assert_close(back(x), theirs(x))

    def as_list(conv):
        return lambda x: [conv(x)]

    class Net(torch.nn.Sequential):
        def forward(self, x):
            return [super().forward(x)]

    assert_same_gradients(Net(ours), theirs, as_list(theirs), x)


@pytest.mark.parametrize('cls', PACKS)
def test_a_pack_starts_with_no_offsets(cls):
    conv = cls(4, 6, 3, padding=1)
    x = torch.randn(1, 4, 5, 6)
    share = 1 if cls is DeformConv2dPack else 0.5
    assert_close(conv(x), share * F.conv2d(x, conv.weight, padding=1), rtol=0, atol=1e-5)
    randomise(conv).init_weights()
    assert not any(p.any() for p in conv.conv_offset.parameters())
    assert (conv.bias is None) == (cls is DeformConv2dPack)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('cls', PACKS)
def test_half_precision(cls, dtype):
    conv = randomise(cls(8, 8, 3, padding=1, groups=2))
    x = torch.randn(2, 8, 9, 10)
    expected = conv(x)
    half = copy.deepcopy(conv).to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    assert_close(half.float(), expected, rtol=0, atol=0.05)
    with torch.autocast('cpu', dtype):
        mixed = conv(x)
    assert mixed.dtype == dtype
    assert_close(mixed.float(), expected, rtol=0, atol=0.05)
    mixed.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())


def test_half_precision_tells_the_pixels_of_a_wide_map_apart():
    conv = randomise(DeformConv2d(1, 1, 3, padding=1)).bfloat16()
    x = torch.randn(1, 1, 3, 700).bfloat16()
    out = conv(x, torch.zeros(1, 18, 3, 700).bfloat16())
    assert_close(out, F.conv2d(x, conv.weight, padding=1))


@pytest.mark.parametrize('cls', PACKS)
def test_channels_last_changes_nothing(cls, backend):
    conv = randomise(cls(4, 6, 3, padding=1, deform_groups=2, backend=backend))
    x = torch.randn(2, 4, 7, 9)
    expected = conv(x)
    last = conv.to(memory_format=torch.channels_last)
    assert_close(last(x.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize('cls', PACKS)
def test_an_empty_batch(cls, backend):
    conv = cls(4, 6, 3, padding=1, backend=backend)
    x = torch.zeros(0, 4, 7, 9, requires_grad=True)
    out = conv(x)
    assert out.shape == (0, 6, 7, 9)
    out.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize('batch', [1, 3, 5])
@pytest.mark.usefixtures('on_compiled')
def test_mmcvs_op_takes_any_batch_size(batch):
    conv = randomise(DeformConv2dPack(4, 4, 3, padding=1, im2col_step=2, bias=True))
    x = torch.randn(batch, 4, 5, 6)
    expected = conv(x)
    conv.backend = 'mmcv'
    assert_close(conv(x), expected)


@pytest.mark.parametrize('cls', PACKS)
@pytest.mark.usefixtures('on_compiled')
def test_either_backend_gives_the_same(cls):
    conv = randomise(cls(4, 4, 3, padding=1, deform_groups=2))
    x = torch.randn(2, 4, 5, 6)
    results = []
    for conv.backend in ('auto', 'torch', 'mmcv'):
        results.append(conv(x))
    assert_close(results[0], results[1], rtol=0, atol=0)
    assert_close(results[1], results[2], rtol=0, atol=1e-5)


def test_mmcvs_backend_without_compiled_ops_is_called_out(monkeypatch):
    compiled_ops.cache_clear()
    monkeypatch.setitem(sys.modules, 'mmcv.ops', None)
    with pytest.raises(ImportError, match=r"backend='mmcv'.*compiled ops.*'auto' or 'torch'"):
        DeformConv2dPack(4, 4, 3, backend='mmcv')
    assert DeformConv2dPack(4, 4, 3)(torch.rand(1, 4, 5, 5)).shape == (1, 4, 3, 3)


def test_neither_import_nor_a_call_on_cpu_loads_the_compiled_ops():
    code = """
import sys, torch, mmblocks
from mmengine.registry import MODELS
type_ = 'mmblocks.ModulatedDeformConv2dPack'
conv = MODELS.build(dict(type=type_, in_channels=2, out_channels=2, kernel_size=3))
conv(torch.rand(1, 2, 4, 4))
assert 'mmcv.ops' not in sys.modules
import mmcv.ops  # would be a KeyError, here or in the other order, if names were the same
assert MODELS.get(type_) is mmblocks.ModulatedDeformConv2dPack
assert MODELS.get('DCNv2') is mmcv.ops.ModulatedDeformConv2dPack
"""
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.fixture
def both_packs():
    """One behind the other, since tracing takes seconds."""
    return randomise(
        torch.nn.Sequential(
            DeformConv2dPack(4, 6, 3, stride=2, padding=1, deform_groups=2),
            ModulatedDeformConv2dPack(6, 4, 3, padding=1, groups=2),
        )
    )


def test_they_export_with_any_image_size(both_packs):
    dim = torch.export.Dim
    sizes = {0: dim('n'), 2: dim('h', min=3), 3: dim('w', min=3)}
    program = torch.export.export(both_packs, (torch.randn(2, 4, 12, 15),), dynamic_shapes=(sizes,))
    for shape in [(2, 4, 12, 15), (1, 4, 31, 22)]:
        x = torch.randn(shape)
        assert_close(program.module()(x), both_packs(x), rtol=0, atol=1e-5)


def test_they_run_in_onnxruntime(both_packs, peer, tmp_path):
    runtime = peer('onnxruntime')
    dim = torch.export.Dim
    sizes = {0: dim('n'), 2: dim('h', min=3), 3: dim('w', min=3)}
    program = torch.onnx.export(
        both_packs, (torch.randn(2, 4, 12, 15),), dynamic_shapes=(sizes,), dynamo=True
    )
    program.save(tmp_path / 'net.onnx')
    session = runtime.InferenceSession(tmp_path / 'net.onnx', providers=['CPUExecutionProvider'])
    (name,) = (entry.name for entry in session.get_inputs())
    for shape in [(2, 4, 12, 15), (1, 4, 31, 22)]:
        x = torch.randn(shape)
        (out,) = session.run(None, {name: x.numpy()})
        assert_close(torch.from_numpy(out), both_packs(x), rtol=0, atol=1e-4)


def test_they_compile_as_one_graph(both_packs):
    compiled = torch.compile(both_packs, fullgraph=True, backend='eager', dynamic=True)
    for size in [(8, 9), (12, 7)]:
        x = torch.randn(2, 4, *size)
        assert_close(compiled(x), both_packs(x), rtol=0, atol=1e-5)
    (expected,) = torch.autograd.grad(both_packs(x).sum(), both_packs[0].weight)
    (grad,) = torch.autograd.grad(compiled(x).sum(), both_packs[0].weight)
    assert_close(grad, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.filterwarnings('ignore:.torch.jit.trace:DeprecationWarning')
def test_they_can_be_traced(both_packs):
    traced = torch.jit.trace(both_packs, torch.randn(1, 4, 8, 9))
    x = torch.randn(2, 4, 11, 6)
    assert_close(traced(x), both_packs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize('fallback', [True, False])
@pytest.mark.parametrize(
    ('cls', 'name'), [(DeformConv2dPack, 'DCN'), (ModulatedDeformConv2dPack, 'DCNv2')]
)
def test_it_takes_the_place_of_mmcvs_in_a_resnet(cls, name, fallback):
    def net(type_):
        dcn = dict(type=type_, deform_groups=1, fallback_on_stride=fallback)
        return ResNet(
            50,
            stem_channels=8,
            base_channels=8,
            dcn=dcn,
            stage_with_dcn=(False, False, True, True),
            frozen_stages=1,
        )

    theirs, ours = randomise(net(name)).eval(), net(f'mmblocks.{cls.__name__}').eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 96, 128)
    assert_same_maps(ours(x), theirs(x), rtol=1e-4)
    kinds = [type(block.conv2) for block in ours.layer3]
    assert kinds == [torch.nn.Conv2d if fallback else cls] + 5 * [cls]
    ours.init_weights()
    assert not ours.layer4[1].conv2.conv_offset.weight.any()


def test_a_conv_module_takes_it():
    module = ConvModule(
        4,
        6,
        3,
        padding=1,
        conv_cfg=dict(type='mmblocks.DeformConv2dPack'),
        norm_cfg=dict(type='BN'),
    )
    assert module(torch.rand(2, 4, 5, 6)).shape == (2, 6, 5, 6)
    assert isinstance(module.conv, DeformConv2dPack)


@pytest.mark.parametrize('cls', CLASSES + PACKS)
def test_it_survives_copies_and_shows_its_arguments(cls):
    conv = randomise(cls(4, 6, 3, padding=1, bias=True, deform_groups=2))
    for twin in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert_close(twin.state_dict(), conv.state_dict())
    assert 'kernel_size=(3, 3)' in repr(conv)
    assert 'deform_groups=2' in repr(conv)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(groups=3), r'in_channels=4: must be divisible by groups=3'),
        (dict(deform_groups=3), r'in_channels=4: must be divisible by deform_groups=3'),
        (dict(groups=4), r'out_channels=6: must be divisible by groups=4'),
        (dict(groups=0), r'groups=0: must be an int of at least 1'),
        (dict(deform_groups=1.0), r'deform_groups=1\.0: must be an int of at least 1'),
        (dict(kernel_size=0), r'kernel_size=0: must be one or two ints of at least 1'),
        (dict(kernel_size=(3, 3, 3)), r'kernel_size=\(3, 3, 3\): must be one or two ints'),
        (dict(stride=(1, 0)), r'stride=\(1, 0\): must be one or two ints of at least 1'),
        (dict(padding='same'), r"padding='same': must be one or two ints of at least 0"),
        (dict(dilation=1.5), r'dilation=1\.5: must be one or two ints of at least 1'),
        (dict(backend='cuda'), r"backend='cuda': must be one of auto, mmcv, torch"),
    ],
)
@pytest.mark.parametrize('cls', CLASSES)
def test_bad_arguments_are_named(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**{**dict(in_channels=4, out_channels=6, kernel_size=3), **arguments})


def test_a_bad_im2col_step_is_named():
    with pytest.raises(ValueError, match=r'im2col_step=0: must be an int of at least 1'):
        DeformConv2d(4, 6, 3, im2col_step=0)


@pytest.mark.parametrize(
    ('x', 'offset', 'mask', 'message'),
    [
        ((1, 3, 5, 6), (1, 18, 5, 6), (1, 9, 5, 6), r'x has shape .*must be \(N, 4, H, W\)'),
        ((4, 5, 6), (1, 18, 5, 6), (1, 9, 5, 6), r'x has shape .*must be \(N, 4, H, W\)'),
        ((1, 4, 5, 6), (1, 18, 5, 5), (1, 9, 5, 6), r'offset has .*must be \(1, 18, 5, 6\)'),
        ((1, 4, 5, 6), (2, 18, 5, 6), (1, 9, 5, 6), r'offset has .*must be \(1, 18, 5, 6\)'),
        ((1, 4, 5, 6), (1, 18, 5, 6), (1, 18, 5, 6), r'mask has .*must be \(1, 9, 5, 6\)'),
    ],
)
def test_inputs_that_do_not_fit_are_named(x, offset, mask, message):
    conv = ModulatedDeformConv2d(4, 6, 3, padding=1)
    with pytest.raises(ValueError, match=message):
        conv(torch.rand(x), torch.rand(offset), torch.rand(mask))


@pytest.mark.parametrize('cls', CLASSES)
def test_a_map_too_small_for_the_kernel_is_named(cls):
    conv = cls(4, 6, 3)
    maps = [torch.rand(1, n, 1, 1) for n in (18, 9)][: 1 + (cls is ModulatedDeformConv2d)]
    with pytest.raises(ValueError, match=r'x has shape \(1, 4, 2, 5\): too small .*\(3, 3\)'):
        conv(torch.rand(1, 4, 2, 5), *maps)
