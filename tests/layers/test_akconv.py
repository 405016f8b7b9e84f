"""AKConv against a plain loop over pixels and points, and as a convolution of other nets."""

import itertools
import math

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from mmengine.model import BaseModule, Sequential
from mmengine.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmblocks import AKConv, ResNet
from tests.parity import randomise


def scattered(*args, reach=3.0, **options):
    """An AKConv whose offsets are far from zero: ``reach`` pixels and more on noise."""
    layer = randomise(AKConv(*args, **options))
    with torch.no_grad():
        layer.p_conv.weight.mul_(reach)
        layer.p_conv.bias.uniform_(-reach, reach)
    return layer


def bilinear(channels, row, column):
    """Values of a (C, H, W) map at a place, as if its outermost pixels went on for ever."""
    height, width = channels.shape[1:]
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    top, left = int(row.detach().floor()), int(column.detach().floor())
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = row - top, column - left
    upper = (1 - along) * channels[:, top, left] + along * channels[:, top, right]
    lower = (1 - along) * channels[:, bottom, left] + along * channels[:, bottom, right]
    return (1 - down) * upper + down * lower


def by_loops(layer, x, stride):
    """What the paper says, pixel by pixel and point by point."""
    weight, bias = layer.conv[0].weight[..., 0], layer.conv[0].bias
    offsets = nn.functional.conv2d(
        x, layer.p_conv.weight, layer.p_conv.bias, stride=stride, padding=1
    )
    per_row = round(math.sqrt(layer.num_points))
    out = torch.empty(len(x), len(weight), *offsets.shape[2:], dtype=x.dtype)
    places = (range(size) for size in (len(x), *offsets.shape[2:]))
    for image, i, j in itertools.product(*places):
        total = bias.clone() if bias is not None else 0
        for point in range(layer.num_points):
            down, right = offsets[image, [point, layer.num_points + point], i, j]
            row = i * stride + point // per_row + down
            column = j * stride + point % per_row + right
            total = total + weight[:, :, point] @ bilinear(x[image], row, column)
        out[image, :, i, j] = total
    return out


def assert_same(layer, x, stride):
    """Checks that outputs and all gradients are those of the loops."""
    parameters = dict(layer.named_parameters())
    results = []
    for forward in (layer, lambda x: by_loops(layer, x, stride)):
        x = x.detach().requires_grad_()
        out = forward(x)
        weighting = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
        grads = torch.autograd.grad((out * weighting).sum(), [x, *parameters.values()])
        results.append((out, dict(zip(['x', *parameters], grads, strict=True))))
    (ours, our_grads), (theirs, their_grads) = results
    assert_close(ours, theirs, rtol=1e-9, atol=1e-11)
    assert_close(our_grads, their_grads, rtol=1e-8, atol=1e-10)
    assert all(grad.abs().max() > 1e-6 for grad in their_grads.values()), 'nothing is compared'


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('num_points', range(1, 14))
def test_it_is_the_plain_loop(num_points, stride):
    layer = scattered(2, 3, stride=stride, num_points=num_points, bias=num_points % 2 == 0).double()
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    offsets = layer.p_conv(x)
    assert offsets.min() < -3, 'no offset leaves the map'
    assert offsets.max() > 3, 'no offset leaves the map'
    assert_same(layer, x, stride)


@pytest.mark.parametrize('size', [(1, 1), (1, 6), (6, 1), (2, 3)])
@pytest.mark.parametrize('stride', [1, 2])
def test_maps_of_one_row_or_column(size, stride):
    layer = scattered(2, 3, num_points=5, stride=stride).double()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    assert_close(layer(x), by_loops(layer, x, stride))
    x.requires_grad_()
    layer(x).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_points_far_outside_read_the_nearest_pixel():
    layer = AKConv(1, 1, num_points=1)
    nn.init.ones_(layer.conv[0].weight)
    x = torch.arange(12.0).view(1, 1, 3, 4)
    for down, right, corner in [(-9, -9, 0), (-9, 9, 3), (9, -9, 8), (9.5, 9.5, 11)]:
        layer.p_conv.bias.data[:] = torch.tensor([down, right])
        assert_close(layer(x), torch.full_like(x, corner))


def test_it_starts_as_a_convolution_over_its_grid():
    layer = AKConv(3, 4, num_points=6)
    kernel = torch.zeros(4, 3, 3, 2)
    for point in range(6):
        kernel[:, :, point // 2, point % 2] = layer.conv[0].weight[:, :, point, 0]
    x = torch.randn(2, 3, 5, 8)
    grown = nn.functional.pad(x, (0, 1, 0, 2), mode='replicate')
    assert_close(layer(x), nn.functional.conv2d(grown, kernel))


def test_its_keys_are_the_published_ones():
    block = AKConv(4, 6, num_points=5, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU'))
    shapes = {key: tuple(value.shape) for key, value in block.state_dict().items()}
    assert shapes == {
        'conv.0.weight': (6, 4, 5, 1),
        'conv.1.weight': (6,),
        'conv.1.bias': (6,),
        'conv.1.running_mean': (6,),
        'conv.1.running_var': (6,),
        'conv.1.num_batches_tracked': (),
        'p_conv.weight': (10, 4, 3, 3),
        'p_conv.bias': (10,),
    }


def test_the_papers_block_has_norm_and_activation_behind():
    block = scattered(4, 6, norm_cfg=dict(type='BN'), act_cfg=dict(type='SiLU')).eval()
    bare = AKConv(4, 6)
    bare.load_state_dict(block.state_dict(), strict=False)
    x = torch.randn(2, 4, 7, 5)
    assert_close(block(x), nn.functional.silu(block.conv[1](bare(x))))


@pytest.mark.parametrize('stride', [1, 2, (2, 1)])
@pytest.mark.parametrize('size', [(6, 9), (7, 4)])
def test_it_gives_maps_of_a_convolutions_size(size, stride):
    x = torch.randn(1, 3, *size)
    conv = nn.Conv2d(3, 4, 5, stride=stride, padding=2)
    cfg = dict(type='mmblocks.AKConv', num_points=4)
    ours = build_conv_layer(cfg, 3, 4, 5, stride=stride, padding=2, dilation=1, groups=1)
    assert ours(x).shape == conv(x).shape
    assert cfg == dict(type='mmblocks.AKConv', num_points=4)


def test_the_number_of_points_by_name_or_by_place():
    assert AKConv(3, 4).num_points == 5
    assert AKConv(3, 4, 9, 2).num_points == 9
    assert AKConv(3, 4, num_points=9).num_points == 9
    assert AKConv(3, 4, 1, num_points=9).num_points == 9
    assert AKConv(3, 4, 3, padding=1).num_points == 5
    assert AKConv(3).out_channels == 3


def test_mmcvs_conv_module_takes_it():
    cfg = dict(type='mmblocks.AKConv', num_points=3)
    module = ConvModule(3, 4, 3, 2, padding=1, conv_cfg=cfg, norm_cfg=dict(type='BN'))
    assert module(torch.randn(2, 3, 7, 6)).shape == (2, 4, 4, 3)
    assert module.conv.conv[0].bias is None


def test_a_net_is_built_of_it_and_learns_offsets():
    net = ResNet(
        18,
        base_channels=4,
        conv_cfg=dict(type='mmblocks.AKConv', num_points=3),
        init_cfg=dict(type='Kaiming', layer='Conv2d'),
        out_indices=(3,),
    )
    net.init_weights()
    layers = [module for module in net.modules() if isinstance(module, AKConv)]
    assert len(layers) >= 16
    assert not any(layer.p_conv.weight.any() for layer in layers), 'offsets must start at zero'
    (out,) = net(torch.randn(2, 3, 45, 70))
    assert out.shape == (2, 32, 2, 3)
    out.square().sum().backward()
    assert layers[0].p_conv.weight.grad.any()


@pytest.mark.parametrize('wrap', [Sequential, nn.Sequential])
def test_no_init_cfg_moves_the_points(wrap):
    class Net(BaseModule):
        def __init__(self):
            super().__init__(init_cfg=dict(type='Normal', std=1, layer='Conv2d'))
            self.layers = wrap(AKConv(3, 4))

    net = Net()
    net.init_weights()
    assert net.layers[0].conv[0].weight.std() > 0.5
    assert not net.layers[0].p_conv.weight.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_halves_are_sampled_at_full_precision(dtype):
    layer = AKConv(2, 2, num_points=4).to(dtype)
    x = torch.randn(1, 2, 3, 2500).to(dtype)
    # Places beyond 2048 are no multiples of a half's step: a grid of halves would miss them.
    ours, exact = layer(x), layer.double()(x.double())
    assert ours.dtype == dtype
    assert_close(ours.double(), exact, rtol=0, atol=0.03)


def test_autocast():
    layer = scattered(4, 3)
    x = torch.randn(2, 4, 9, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


def test_channels_last_and_an_empty_batch():
    layer = scattered(4, 3)
    x = torch.randn(2, 4, 9, 6)
    expected = layer(x)
    layer = layer.to(memory_format=torch.channels_last)
    assert_close(layer(x.to(memory_format=torch.channels_last)), expected)
    empty = layer(x[:0].requires_grad_())
    assert empty.shape == (0, 3, 9, 6)
    empty.sum().backward()


@pytest.mark.parametrize('stride', [1, 2])
def test_an_exported_program_takes_any_size(stride):
    layer = scattered(2, 3, stride=stride).eval()
    batch = torch.export.Dim('batch', min=1, max=8)
    height, width = torch.export.Dim('height', min=3), torch.export.Dim('width', min=3)
    program = torch.export.export(
        layer, (torch.randn(2, 2, 9, 12),), dynamic_shapes=({0: batch, 2: height, 3: width},)
    )
    for batch_size, *size in [(2, 9, 12), (1, 5, 5), (5, 4, 7), (8, 14, 3)]:
        x = torch.randn(batch_size, 2, *size)
        assert_close(program.module()(x), layer(x))


def test_it_compiles_as_one_graph():
    layer = scattered(2, 3)
    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in [(5, 7), (8, 6)]:
        x = torch.randn(1, 2, *size)
        out = compiled(x)
        assert_close(out, layer(x))
        out.sum().backward()


def test_a_config_can_name_it():
    cfg = dict(type='mmblocks.AKConv', in_channels=3, out_channels=4, num_points=7, bias=True)
    layer = MODELS.build(cfg)
    assert isinstance(layer, AKConv)
    assert layer.conv[0].bias is not None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_points=0), 'num_points=0'),
        (dict(num_points=2.5), 'num_points=2.5'),
        (dict(num_points=True), 'num_points=True'),
        (dict(kernel_size=(3, 3)), r'num_points=\(3, 3\)'),
        (dict(stride=0), 'stride=0'),
        (dict(stride=(1, 0)), r'stride=\(1, 0\)'),
        (dict(dilation=2), 'dilation=2'),
        (dict(groups=7), 'groups=7: must divide in_channels='),
        (dict(kernel_size=3, num_points=5), 'kernel_size=3, padding=None'),
        (dict(kernel_size=3, padding=0), 'kernel_size=3, padding=0'),
        (dict(kernel_size=2, padding=1), 'kernel_size=2, padding=1'),
        (dict(kernel_size=(3, 5), padding=1), r'kernel_size=\(3, 5\), padding=1'),
        (dict(kernel_size=3, padding='same'), "padding='same'"),
        (dict(padding=1), 'kernel_size=None, padding=1'),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AKConv(4, 4, **options)
