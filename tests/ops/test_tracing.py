"""torch.compile and torch.export see ops without a break, and PyTorch's own checks of them pass."""

import pytest
import torch
from torch.testing import assert_close

from tests.ops.cases import CASES, maps, rand, regions, run

# They give lists, or ask for values while they run: mmcv's own too, and its function around the
# masked convolution.
UNTRACEABLE = ('masked convolution', 'soft-NMS', 'matching NMS')
traceable = pytest.mark.parametrize('case', [case for case in CASES if case not in UNTRACEABLE])


@pytest.fixture(autouse=True)
def _nothing_compiled_before():
    torch._dynamo.reset()


@traceable
def test_a_compiled_graph_has_no_break_forward_or_backward(on_forms, case):
    function, inputs, differentiable = CASES[case]
    inputs = [value.float() for value in inputs(4)]
    expected = run(case, on_forms, inputs)
    compiled = torch.compile(
        lambda *args: function(on_forms, *args), fullgraph=True, backend='aot_eager'
    )
    inputs = [value.requires_grad_(i < differentiable) for i, value in enumerate(inputs)]
    got = compiled(*inputs)
    assert_close(got.detach(), expected[0])
    if differentiable:
        grad = torch.linspace(0.25, 1, got.numel()).view(got.shape)
        assert_close(list(torch.autograd.grad(got, inputs[:differentiable], grad)), expected[1:])


@traceable
def test_an_exported_graph_computes_the_same_of_other_values(on_forms, case):
    function, inputs, _ = CASES[case]

    class Call(torch.nn.Module):
        def forward(self, *args):
            return function(on_forms, *args)

    exported = torch.export.export(Call(), tuple(value.float() for value in inputs(4))).module()
    other = [value.float() for value in inputs(4)]
    assert_close(exported(*other), function(on_forms, *other))


def registered():
    """Ops of mmblocks with arguments for them.

    Without the gradient of deformable attention: opcheck looks for storages, which tensors in
    torch.func.vjp do not have.
    """
    ops, x, rois = torch.ops.mmblocks, maps().float(), regions(5).float()
    options = ([2, 2], 0.25, 0, True)
    by = torch.rand(5, 4, 2, 2)
    attention = (rand(2, 26, 3, 4), torch.tensor([[4, 5], [2, 3]]))
    attention = (*attention, rand(2, 4, 3, 2, 5, 2), rand(2, 4, 3, 2, 5))
    return {
        ops.nms: (rois[:, 1:], torch.rand(5), 0.5, 0),
        ops.roi_align_average: (x, rois, *options),
        ops.roi_align_average_backward: (by, list(x.shape), rois, *options[1:]),
        ops.roi_align_maximum: (x, rois, *options),
        ops.roi_align_maximum_backward: (by, list(x.shape), rois, by * 9, by * 9),
        ops.roi_pool: (x, rois, [2, 2], 0.25),
        ops.deformable_attention: attention,
    }


@pytest.mark.usefixtures('on_forms')
def test_fake_kernels_have_the_shapes_of_the_real_ones():
    for op, args in registered().items():
        torch.library.opcheck(op, args)
