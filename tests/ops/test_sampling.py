"""Bilinear sampling against a plain loop over points, and on the pixels themselves."""

import math

import pytest
import torch
from torch.testing import assert_close

from mmblocks.ops.sampling import sample_bilinear, sample_taps

SIZES = [(5, 7), (8, 4), (1, 6), (3, 1), (1, 1)]


def sample_slowly(plane, y, x, padding):
    """One point of one (H, W) plane, corner by corner."""
    height, width = plane.shape
    if padding == 'border':
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    value = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column].item()
    return value


@pytest.mark.parametrize('padding', ['zeros', 'border'])
@pytest.mark.parametrize('size', SIZES)
def test_it_is_its_definition(size, padding):
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    y = (torch.rand(2, 4, 5, dtype=torch.float64) - 0.25) * 2 * (size[0] + 1)
    x = (torch.rand(2, 4, 5, dtype=torch.float64) - 0.25) * 2 * (size[1] + 1)
    y[0, 0, :3], x[0, 0, 1:4] = torch.tensor([-1, 0, size[0] - 1]), torch.tensor([0, -1, size[1]])
    expected = torch.tensor(
        [
            [
                [
                    sample_slowly(plane, b.item(), a.item(), padding)
                    for b, a in zip(*at, strict=True)
                ]
                for plane in planes
            ]
            for planes, *at in zip(maps, y.flatten(1), x.flatten(1), strict=True)
        ],
        dtype=torch.float64,
    )
    samples = sample_bilinear(maps, y, x, padding)
    assert samples.shape == (2, 3, 4, 5)
    assert_close(samples, expected.view_as(samples), rtol=0, atol=1e-12)


@pytest.mark.parametrize('padding', ['zeros', 'border'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(5, 7), (8, 4), (13, 40)])
def test_on_a_pixel_the_gradient_is_the_one_towards_the_next(size, dtype, padding):
    plane = torch.randn(size, dtype=dtype)
    y, x = torch.meshgrid(*(torch.arange(n, dtype=dtype) for n in size), indexing='ij')
    y, x = y[None].requires_grad_(), x[None].requires_grad_()
    samples = sample_bilinear(plane[None, None], y, x, padding)
    assert_close(samples[0, 0], plane, rtol=0, atol=0)
    dy, dx = torch.autograd.grad(samples.sum(), (y, x))
    beyond_y = plane[-1:] if padding == 'border' else torch.zeros(1, size[1], dtype=dtype)
    beyond_x = plane[:, -1:] if padding == 'border' else torch.zeros(size[0], 1, dtype=dtype)
    close = dict(rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-13)
    assert_close(dy[0], plane.diff(dim=0, append=beyond_y), **close)
    assert_close(dx[0], plane.diff(dim=1, append=beyond_x), **close)


@pytest.mark.parametrize('padding', ['zeros', 'border'])
def test_gradients_are_those_of_finite_differences(padding):
    maps = torch.randn(1, 2, 3, 5, dtype=torch.float64, requires_grad=True)
    whole = torch.randint(-2, 6, (2, 1, 12))
    y, x = (whole + 0.2 + 0.6 * torch.rand(2, 1, 12, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: sample_bilinear(*a, padding), (maps, y, x))


def test_samples_are_float32_at_least():
    y = x = torch.zeros(1, 1)
    for dtype, expected in [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ]:
        assert sample_bilinear(torch.rand(1, 1, 2, 2, dtype=dtype), y, x).dtype == expected


def test_taps_without_offsets_are_those_of_unfold():
    x = torch.randn(2, 6, 7, 9)
    settings = dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    taps = torch.nn.functional.unfold(x, (2, 3), **settings)
    size = (4, 9)
    for deform_groups in (1, 3):
        offset = torch.zeros(2, deform_groups * 12, *size)
        samples = sample_taps(x, offset, (2, 3), deform_groups=deform_groups, **settings)
        assert_close(samples.reshape_as(taps), taps, rtol=0, atol=0)


def test_an_unknown_padding_is_named():
    with pytest.raises(ValueError, match=r"padding='reflect': must be 'zeros' or 'border'"):
        sample_bilinear(torch.rand(1, 1, 2, 2), torch.zeros(1, 1), torch.zeros(1, 1), 'reflect')
