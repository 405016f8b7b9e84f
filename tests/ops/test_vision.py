"""torchvision's ops are handed what they expect, and on the CPU nothing at all."""

import pytest
import torch
from torch.testing import assert_close

from mmblocks.ops import roi_align, vision
from tests.ops.cases import maps, regions

# As torchvision's C++ declares them, which does not load where there is no CUDA.
SCHEMAS = (
    'roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, '
    'int pooled_width, int sampling_ratio, bool aligned) -> Tensor',
    '_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, int pooled_height, '
    'int pooled_width, int batch_size, int channels, int height, int width, int sampling_ratio, '
    'bool aligned) -> Tensor',
)


@pytest.fixture(scope='module')
def in_python(peer):
    """torchvision's own Python form of RoIAlign, behind the names of its ops."""
    align = peer('torchvision.ops.roi_align')._roi_align.__wrapped__  # not compiled
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in SCHEMAS:
        library.define(schema)

    def backward(grad, rois, scale, rows, columns, batch, channels, height, width, *how):
        x = grad.new_zeros(batch, channels, height, width, requires_grad=True)
        with torch.enable_grad():
            out = align(x, rois, scale, rows, columns, *how)
        return torch.autograd.grad(out, x, grad)[0]

    library.impl('roi_align', align, 'CompositeExplicitAutograd')
    library.impl('_roi_align_backward', backward, 'CompositeExplicitAutograd')
    yield
    library._destroy()


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(('ratio', 'aligned'), [(0, True), (2, True), (0, False), (3, False)])
@pytest.mark.usefixtures('in_python')
def test_torchvisions_roi_align_is_ours(ratio, aligned, dtype):
    # Inside the map: torchvision's Python form, unlike its kernels, counts what lies outside.
    x, rois = maps().to(dtype), regions(7).clamp(max=44).to(dtype)
    out = vision.roi_align(x, rois, (2, 3), 0.25, ratio, aligned)
    assert out.dtype == dtype
    assert_close(out, roi_align.average(x, rois, (2, 3), 0.25, ratio, aligned))
    grad = torch.rand(out.shape, dtype=torch.float64).to(dtype)
    back = vision.roi_align_backward(grad, x.shape, rois, 0.25, ratio, aligned)
    assert back.dtype == dtype
    assert_close(back, roi_align.average_backward(grad, x.shape, rois, 0.25, ratio, aligned))


@pytest.mark.usefixtures('peer')
def test_a_torchvision_that_does_not_load_is_not_used(log):
    vision._has_cuda_ops.cache_clear()
    assert not vision._has_cuda_ops()
    assert not vision._has_cuda_ops()
    (line,) = [line for line in log.messages if 'on a GPU' in line]  # once
    assert "mmblocks' PyTorch forms" in line
    vision._has_cuda_ops.cache_clear()


def test_on_the_cpu_ours_run():
    assert not vision.serves(torch.zeros(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu_the_same_boxes_are_kept():
    from mmblocks.ops.nms import nms
    from tests.ops.cases import boxes

    some, scores = boxes(500).float(), torch.rand(500)
    assert torch.equal(nms(some.cuda(), scores.cuda(), 0.5).cpu(), nms(some, scores, 0.5))
