"""The ops of mmcv.ops that mmdet uses, with what they are called with."""

import torch

SHAPES, STARTS = torch.tensor([[4, 5], [2, 3]]), torch.tensor([0, 20])


def rand(*shape):
    return torch.rand(shape, dtype=torch.float64)


def maps(count=2):
    return rand(count, 4, 12, 16)


def boxes(count):
    start = rand(count, 2) * 40
    return torch.cat([start, start + 5 + rand(count, 2) * 30], dim=1)


def regions(count):
    return torch.cat([torch.arange(count).remainder(2).double()[:, None], boxes(count)], dim=1)


def offsets(count, groups=18):
    return rand(count, groups, 12, 16) * 3 - 1.5


def classes(count):
    return torch.arange(count).remainder(4)


def attend(ops, value, locations, weights):
    function = ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction
    device = value.device
    return function.apply(value, SHAPES.to(device), STARTS.to(device), locations, weights, 64)


def pool(mode, ratio, aligned):
    return lambda ops, x, rois: ops.roi_align(x, rois, (2, 4), 0.25, ratio, mode, aligned)


def focal(name, reduction):
    def loss(ops, logits, weight):
        target = classes(len(logits)).to(logits.device) % 3
        return getattr(ops, name)(logits, target, 2.0, 0.25, weight, reduction)

    return loss


# What is called, with tensors of one floating dtype; these, for some images, regions, boxes or
# rows; and for how many of them, from the first on, there is a gradient.
CASES = {
    'RoIAlign': (pool('avg', 0, True), lambda n: (maps(), regions(n)), 1),
    'RoIAlign, two samples': (pool('avg', 2, False), lambda n: (maps(), regions(n)), 1),
    'RoIAlign, largest': (pool('max', 2, True), lambda n: (maps(), regions(n)), 1),
    'RoIPool': (
        lambda ops, x, rois: ops.roi_pool(x, rois, (2, 4), 0.25),
        lambda n: (maps(), regions(n)),
        1,
    ),
    'deformable RoIPool': (
        lambda ops, x, by, rois: ops.deform_roi_pool(x, rois, by, (2, 4), 0.25, 2, 0.1),
        lambda n: (maps(), rand(n, 2, 2, 4), regions(n)),
        2,
    ),
    'DCN v1': (
        lambda ops, x, by, weight: ops.deform_conv2d(x, by, weight, 1, 1),
        lambda n: (maps(n), offsets(n), rand(2, 4, 3, 3)),
        3,
    ),
    'DCN v2': (
        lambda ops, x, by, mask, weight: ops.modulated_deform_conv2d(
            x, by, mask, weight, None, 1, 1
        ),
        lambda n: (maps(n), offsets(n), rand(n, 9, 12, 16), rand(2, 4, 3, 3)),
        4,
    ),
    'deformable attention': (
        attend,
        # Away from the pixels, where the gradient jumps.
        lambda n: (
            rand(2, 26, 3, 4),
            (torch.randint(32, (2, n, 3, 2, 5, 2)) * 2 + 1).double() / 64,
            rand(2, n, 3, 2, 5),
        ),
        3,
    ),
    'CARAFE': (
        lambda ops, x, kernels: ops.carafe(x, kernels, 3, 1, 2),
        lambda n: (rand(n, 4, 3, 5), rand(n, 9, 6, 10)),
        2,
    ),
    'masked convolution': (
        lambda ops, x, weight, bias, mask: ops.masked_conv2d(x, mask, weight, bias, 1),
        lambda n: (rand(1, 3, 6, 7), rand(4, 3, 3, 3), rand(4), (rand(1, 6, 7) < n).double()),
        0,
    ),
    'corner pooling': (lambda ops, x: ops.CornerPool('left')(x), lambda n: (maps(n),), 1),
    'sigmoid focal loss': (
        focal('sigmoid_focal_loss', 'none'),
        lambda n: (rand(n, 3) * 8 - 4, rand(3)),
        1,
    ),
    'softmax focal loss': (
        focal('softmax_focal_loss', 'sum'),
        lambda n: (rand(n, 3) * 2 - 1, rand(3)),
        1,
    ),
    'box overlaps': (
        lambda ops, first, second: ops.bbox_overlaps(first, second),
        lambda n: (boxes(n), boxes(3)),
        0,
    ),
    'NMS': (
        lambda ops, dets, scores: ops.nms(dets, scores, 0.43)[0],
        lambda n: (boxes(n * 5), torch.arange(n * 5.0, dtype=torch.float64)),
        0,
    ),
    'soft-NMS': (
        lambda ops, dets, scores: ops.soft_nms(dets, scores, 0.43, method='linear')[0],
        lambda n: (boxes(n), (torch.arange(n) + 1.0).double()),
        0,
    ),
    'matching NMS': (
        lambda ops, dets, scores: torch.cat(
            [torch.tensor([0]), *ops.nms_match(torch.cat([dets, scores[:, None]], 1), 0.43)]
        ),
        lambda n: (boxes(n), torch.arange(n).double()),
        0,
    ),
}


def run(case, ops, inputs):
    """What an op gives, with the gradients of those inputs that get one."""
    function, _, differentiable = CASES[case]
    inputs = [value.detach().requires_grad_(i < differentiable) for i, value in enumerate(inputs)]
    out = function(ops, *inputs)
    if not differentiable:
        return [out]
    # The same for each dtype.
    grad = torch.linspace(0.25, 1, max(out.numel(), 1))[: out.numel()].view(out.shape)
    # For no offsets, mmcv's function for deformable pooling gives no gradient.
    gradients = torch.autograd.grad(
        out, inputs[:differentiable], grad.to(out), materialize_grads=True
    )
    return [out.detach(), *gradients]
