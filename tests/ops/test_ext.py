"""Under mmcv's own layers, the PyTorch forms give what mmcv promises, and the right gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks.engine import load_config
from tests.detecting import batch, build_detector


def rand(*shape):
    return torch.rand(*shape, dtype=torch.float64)


def regions(count=6, size=64):
    start = rand(count, 2) * size - 8
    image = torch.randint(0, 2, (count, 1)).double()
    return torch.cat([image, start, start + rand(count, 2) * 40], dim=1)


def gradients(out, *inputs):
    return torch.autograd.grad(out.square().sum(), inputs)


@pytest.mark.parametrize('deform_groups', [1, 2])
@pytest.mark.parametrize('settings', [(1, 1, 1, 1), (2, 0, 2, 2)])
@pytest.mark.parametrize('modulated', [False, True])
def test_deformable_convolutions_are_the_compiled_ops(
    compiled, on_forms, modulated, settings, deform_groups
):
    stride, padding, dilation, groups = settings
    x, weight, bias = rand(2, 4, 9, 8), rand(6, 4 // groups, 3, 3), rand(6)
    rows, columns = F.conv2d(x, weight, None, stride, padding, dilation, groups).shape[2:]
    offset = rand(2, deform_groups * 18, rows, columns) * 4 - 2
    mask = rand(2, deform_groups * 9, rows, columns)
    inputs = [x, offset, mask, weight, bias] if modulated else [x, offset, weight]
    inputs = [value.float().requires_grad_() for value in inputs]
    options = (stride, padding, dilation, groups, deform_groups)

    def run(ops):
        convolve = ops.modulated_deform_conv2d if modulated else ops.deform_conv2d
        out = convolve(*inputs, *options)
        return out, gradients(out, *inputs)

    with compiled() as ops:
        expected = run(ops)
    assert_close(run(on_forms), expected, rtol=1e-4, atol=1e-3)


def test_offsets_of_a_larger_map_are_read_as_the_compiled_op_reads_them(compiled, on_forms):
    # DyHead convolves a map with the offsets of a finer one.
    inputs = [rand(2, 4, 5, 7), rand(2, 36, 10, 14) * 4 - 2, rand(2, 18, 10, 14), rand(6, 4, 3, 3)]
    inputs = [value.requires_grad_() for value in inputs]

    def run(ops):
        out = ops.modulated_deform_conv2d(*inputs, None, 1, 1, 1, 1, 2)
        return out, gradients(out, *inputs)

    with compiled() as ops:
        expected = run(ops)
    assert_close(run(on_forms), expected)


def test_regions_are_pooled_to_their_largest_pixel(on_forms):
    maps, rois = rand(2, 3, 9, 12).requires_grad_(), regions()
    rois[0, 3:] = rois[0, 1:3] - 9  # turned inside out, so nothing is there to be pooled
    out = on_forms.roi_pool(maps, rois, (2, 3), 0.125)
    expected = torch.zeros_like(out)
    for r, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = x1 / 8, y1 / 8, (x2 + 1) / 8, (y2 + 1) / 8
        if x2 <= x1 or y2 <= y1:
            continue
        for i in range(2):
            for j in range(3):
                top, bottom = y1 + i * (y2 - y1) / 2, y1 + (i + 1) * (y2 - y1) / 2
                left, right = x1 + j * (x2 - x1) / 3, x1 + (j + 1) * (x2 - x1) / 3
                pixels = [
                    maps[int(image), :, y, x]
                    for y in range(9)
                    for x in range(12)
                    if top - 1 < y < bottom and left - 1 < x < right
                ]
                if pixels:
                    expected[r, :, i, j] = torch.stack(pixels).max(0).values
    assert out[1:].any()
    assert_close(out, expected)
    assert_close(gradients(out, maps), gradients(expected, maps))


@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_focal_loss_is_mmdets_formula(on_forms, weighted):
    from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

    logits, target = (rand(7, 3) * 8 - 4).requires_grad_(), torch.tensor([0, 1, 2, 3, 0, 1, 3])
    weight = rand(3) if weighted else None
    loss = on_forms.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')
    expected = py_sigmoid_focal_loss(
        logits, F.one_hot(target, 4)[:, :3], gamma=2.0, alpha=0.25, reduction='none'
    )
    if weighted:
        expected = expected * torch.cat([weight, weight.new_ones(1)])[target][:, None]
    assert_close(loss, expected)
    for reduction in ('mean', 'sum'):
        loss = on_forms.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, reduction)
        total = expected.sum() / (7 if reduction == 'mean' else 1)
        assert_close(loss, total)
        assert_close(
            torch.autograd.grad(loss, logits),
            torch.autograd.grad(total, logits, retain_graph=True),
        )


def test_focal_losses_stay_finite_for_sure_logits(on_forms):
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], requires_grad=True)
    loss = on_forms.sigmoid_focal_loss(logits, torch.tensor([0, 0]), 2.0, 0.25, None, 'sum')
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_softmax_focal_loss_is_its_formula(on_forms):
    logits, target = rand(6, 4).requires_grad_(), torch.tensor([0, 1, 2, 3, 0, 1])
    weight = rand(4)
    loss = on_forms.softmax_focal_loss(logits.clone(), target, 2.0, 0.25, weight, 'sum')
    log_p = F.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
    expected = (-0.25 * (1 - log_p.exp()) ** 2 * log_p * weight[target]).sum()
    assert_close(loss, expected)
    assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits))


def test_deformable_attention_is_mmcvs_own_formula(on_forms):
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    shapes, starts = torch.tensor([[4, 5], [2, 3]]), torch.tensor([0, 20])
    value, locations, weights = rand(2, 26, 3, 4), rand(2, 7, 3, 2, 5, 2), rand(2, 7, 3, 2, 5)
    inputs = [tensor.requires_grad_() for tensor in (value, locations * 1.4 - 0.2, weights)]
    out = MultiScaleDeformableAttnFunction.apply(inputs[0], shapes, starts, *inputs[1:], 64)
    expected = multi_scale_deformable_attn_pytorch(inputs[0], shapes, *inputs[1:])
    assert_close(out, expected)
    assert_close(gradients(out, *inputs), gradients(expected, *inputs))


@pytest.mark.parametrize('name', ['carafe', 'carafe_naive'])
def test_carafe_weighs_the_pixels_around_each_new_one(on_forms, name):
    maps, kernels = rand(2, 4, 3, 5).requires_grad_(), rand(2, 18, 6, 10).requires_grad_()
    out = getattr(on_forms.carafe, name, None) or getattr(on_forms, name)
    out = out(maps, kernels, 3, 2, 2)
    padded = F.pad(maps, (1, 1, 1, 1))
    expected = torch.zeros_like(out)
    for y in range(6):
        for x in range(10):
            patch = padded[:, :, y // 2 : y // 2 + 3, x // 2 : x // 2 + 3].flatten(2)
            kernel = kernels[:, :, y, x].view(2, 2, 1, 9)
            expected[:, :, y, x] = (patch.view(2, 2, 2, 9) * kernel).sum(3).flatten(1)
    assert_close(out, expected)
    if name == 'carafe':  # mmcv's naive one wants a GPU for its gradient
        assert_close(gradients(out, maps, kernels), gradients(expected, maps, kernels))


def test_a_masked_convolution_is_a_plain_one_where_the_mask_is(on_forms):
    x, mask = rand(1, 3, 6, 7), (rand(1, 6, 7) > 0.5).double()
    conv = on_forms.MaskedConv2d(3, 4, 3, padding=1).double()
    plain = F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert_close(conv(x, mask), plain * mask[:, None])


def test_deformable_pooling_without_displacement_is_roi_align(on_forms):
    maps, rois = rand(2, 3, 9, 12).requires_grad_(), regions()
    out = on_forms.deform_roi_pool(maps, rois, None, (2, 3), 0.125, 0, 0.1)
    expected = on_forms.roi_align(maps, rois, (2, 3), 0.125, 0, 'avg', True)
    assert_close(out, expected)
    assert_close(gradients(out, maps), gradients(expected, maps))


def test_deformable_pooling_looks_where_the_bins_are_moved_to(on_forms):
    maps, rois = (
        rand(2, 3, 30, 30).requires_grad_(),
        torch.tensor([[1.0, 40, 48, 104, 96]]).double(),
    )
    # Half a region of 8 by 6 pixels: 4 to the right and 3 down.
    offset = torch.full((1, 2, 2, 2), 5.0, dtype=torch.float64, requires_grad=True)
    out = on_forms.deform_roi_pool(maps, rois, offset, (2, 2), 0.125, 2, 0.1)
    moved = rois + torch.tensor([0, 32, 24, 32, 24])
    assert_close(out, on_forms.roi_align(maps, moved, (2, 2), 0.125, 2, 'avg', True))
    assert torch.autograd.gradcheck(
        lambda shift: on_forms.deform_roi_pool(maps, rois, shift, (2, 2), 0.125, 2, 0.1),
        (offset.detach() + 0.013).requires_grad_(),
    )


def test_box_overlaps_are_what_mmcv_computes_on_the_cpu(on_forms):
    from mmblocks.ops.boxes import box_overlaps

    first, second = (torch.cat([p, p + rand(5, 2) * 9], 1).float() for p in rand(2, 5, 2) * 9)
    for mode in ('iou', 'iof'):
        for aligned in (False, True):
            for offset in (0, 1):
                expected = on_forms.bbox_overlaps(first, second, mode, aligned, offset)
                assert_close(box_overlaps(first, second, mode, aligned, offset), expected)


def test_an_op_without_a_form_is_an_error_that_names_it(on_forms):
    with pytest.raises(NotImplementedError, match=r'box_iou_rotated .* needs mmcv with compiled'):
        on_forms.box_iou_rotated(torch.rand(2, 5), torch.rand(2, 5))


@pytest.mark.usefixtures('on_forms')
def test_mask_rcnn_learns_and_finds_the_same_on_the_forms(compiled, mmdet_models):
    cfg = load_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py')
    cfg.model.backbone = dict(type='mmblocks.ResNet', depth=18, base_channels=8)
    cfg.model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    for head in (cfg.model.rpn_head, cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.update(in_channels=16)
    cfg.model.rpn_head.feat_channels = cfg.model.roi_head.mask_head.conv_out_channels = 16
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        cfg.model.roi_head[name].out_channels = 16
    cfg.model.test_cfg.rcnn.score_thr = 0.0  # untrained, every class has a score of about 1 / 81
    detector = build_detector(cfg, mmdet_models).eval()
    data = batch(80, with_mask=True)

    def run():
        torch.manual_seed(0)
        losses = detector(**detector.data_preprocessor(data, training=True), mode='loss')
        total, _ = detector.parse_losses(losses)
        detector.zero_grad()
        total.backward()
        with torch.no_grad():
            found = detector(**detector.data_preprocessor(data, training=False), mode='predict')
        found = [(one.pred_instances.bboxes, one.pred_instances.scores) for one in found]
        return total.detach(), found, [p.grad for p in detector.parameters() if p.grad is not None]

    with compiled():
        expected = run()
    assert sum(len(boxes) for boxes, _ in expected[1])
    assert_close(run(), expected, rtol=1e-3, atol=1e-4)
