"""The two forms of the convolution over points; tests of AKConv hold one against plain loops."""

import pytest
import torch
from torch.testing import assert_close

from mmblocks.layers.point_conv import _by_grid, _by_rows, convolve_points


def inputs(size, points=4, dtype=torch.float64):
    places = [torch.empty(2, points, 3, 5).uniform_(-3, side + 2) for side in size]
    tensors = [torch.randn(2, 3, *size), *places, torch.randn(6, 3, points), torch.randn(6)]
    return [tensor.to(dtype).requires_grad_() for tensor in tensors]


@pytest.mark.parametrize('size', [(7, 6), (1, 9), (9, 1), (1, 1)])
def test_both_forms_give_the_same(size):
    tensors = inputs(size)
    results = []
    for form in (_by_rows, _by_grid):
        out = form(*tensors)
        weighting = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
        results.append((out, torch.autograd.grad((out * weighting).sum(), tensors)))
    assert_close(*results)


@pytest.mark.parametrize('form', [_by_rows, _by_grid])
def test_groups_are_convolved_apart(form):
    x, rows, columns, _, bias = inputs((7, 6))
    weight = torch.randn(6, 1, 4, dtype=x.dtype).requires_grad_()
    apart = [
        form(x[:, i : i + 1], rows, columns, weight[2 * i : 2 * i + 2], bias[2 * i : 2 * i + 2])
        for i in range(3)
    ]
    tensors = (x, rows, columns, weight, bias)
    outs = [form(*tensors), torch.cat(apart, dim=1)]
    assert_close(*outs)
    assert_close(*(torch.autograd.grad(out.square().sum(), tensors) for out in outs))


@pytest.mark.parametrize('form', [_by_rows, _by_grid])
def test_the_gradients_are_those_of_the_outputs(form):
    assert torch.autograd.gradcheck(form, inputs((7, 6)))


@pytest.mark.parametrize('frozen', range(5))
def test_any_input_may_need_no_gradient(frozen):
    tensors = inputs((7, 6))
    tensors[frozen].requires_grad_(False)
    others = [tensor for tensor in tensors if tensor.requires_grad]
    ours, theirs = (
        torch.autograd.grad(form(*tensors).square().sum(), others) for form in (_by_rows, _by_grid)
    )
    assert_close(ours, theirs)


@pytest.mark.parametrize('place', [float('nan'), float('inf'), -float('inf'), 1e30])
def test_places_that_are_no_places_do_no_harm(place):
    x, rows, columns, weight, bias = (tensor.detach() for tensor in inputs((7, 6)))
    rows[0, 0, 0, 0] = place
    out = convolve_points(x, rows, columns, weight, bias)
    broken = out.isnan().all(1)
    assert broken.sum() == (1 if place != place else 0)
    if place == place:
        rows[0, 0, 0, 0] = 100 if place > 0 else -100
        assert_close(out, convolve_points(x, rows, columns, weight, bias))
