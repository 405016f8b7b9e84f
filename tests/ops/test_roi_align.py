"""RoIAlign gives what mmcv's compiled op gives, and its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmblocks.ops import roi_align


def inputs(count, seed, dtype=torch.float64):
    """Maps, and regions that also lie outside of them or have no size."""
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 9, 12, generator=generator, dtype=dtype)
    start = torch.rand(count, 2, generator=generator, dtype=dtype) * 120 - 30
    extent = torch.rand(count, 2, generator=generator, dtype=dtype) * 90
    extent[: count // 4] = 0
    image = torch.randint(0, 2, (count, 1), generator=generator).to(dtype)
    return maps, torch.cat([image, start, start + extent], dim=1)


drawn = given(
    count=st.sampled_from([0, 1, 40]),
    seed=st.integers(0, 99),
    size=st.sampled_from([(1, 1), (2, 3), (7, 7)]),
    ratio=st.sampled_from([0, 1, 2, 3]),
    aligned=st.booleans(),
)


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
@settings(max_examples=25, deadline=None)
@drawn
def test_values_and_gradients_are_the_compiled_op_s(
    compiled, mode, dtype, tolerance, count, seed, size, ratio, aligned
):
    maps, rois = inputs(count, seed, dtype)
    maps.requires_grad_()
    with compiled() as ops:
        expected = ops.roi_align(maps, rois, size, 0.125, ratio, mode, aligned)
        grad = torch.randn_like(expected)
        expected_grad = torch.autograd.grad(expected, maps, grad)[0] if count else 0 * maps
    options = (rois, size, 0.125, ratio, aligned)
    with torch.no_grad():
        if mode == 'avg':
            values = roi_align.average(maps, *options)
            back = roi_align.average_backward(grad, maps.shape, rois, 0.125, ratio, aligned)
        else:
            values, y, x = roi_align.maximum(maps, *options)
            back = roi_align.maximum_backward(grad, maps.shape, rois, y, x)
    assert_close(values, expected, rtol=tolerance, atol=tolerance)
    assert_close(back, expected_grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('ratio', [0, 2])
def test_thousands_of_regions_of_any_kind_are_the_compiled_op_s(compiled, ratio, aligned):
    maps, rois = inputs(3000, seed=0)
    rois[0:500, 1:] += 5000  # nowhere near the map
    rois[500:1000, 1:3] -= 400  # much larger than it
    if not aligned:  # there, mmcv's op refuses them
        rois[1000:1500, 3:] = rois[1000:1500, 1:3] - 20  # turned inside out
    options = (rois, (2, 3), 0.125, ratio, aligned)
    with compiled() as ops:
        expected = ops.roi_align(maps, *options[:-1], 'avg', aligned)
    assert_close(roi_align.average(maps, *options), expected, rtol=1e-9, atol=1e-9)


def test_corners_that_are_no_numbers_give_numbers():
    maps, rois = inputs(8, seed=0)
    rois[2, 1], rois[4, 4] = float('nan'), float('inf')
    assert roi_align.average(maps, rois, (2, 2), 0.125, 0, True).isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    maps, rois = inputs(20, seed=0, dtype=torch.float32)
    exact = roi_align.average(maps.to(dtype).float(), rois, (2, 2), 0.125, 0, True)
    got = roi_align.average(maps.to(dtype), rois, (2, 2), 0.125, 0, True)
    assert got.dtype == dtype
    assert_close(got, exact.to(dtype))


def test_maps_in_channels_last_give_the_same():
    maps, rois = inputs(20, seed=0)
    last = maps.to(memory_format=torch.channels_last)
    options = (rois, (2, 2), 0.125, 0, True)
    assert_close(roi_align.average(last, *options), roi_align.average(maps, *options))


def test_it_is_one_op_in_a_traced_graph():
    class Pool(torch.nn.Module):
        def forward(self, maps, rois):
            return torch.ops.mmblocks.roi_align_average(maps, rois, [2, 2], 0.125, 0, True)

    exported = torch.export.export(Pool(), inputs(10, seed=0)).module()
    maps, rois = inputs(10, seed=1)
    assert_close(exported(maps, rois), roi_align.average(maps, rois, (2, 2), 0.125, 0, True))
