"""The fixed-size forms find what mmdet finds."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmblocks.export.comparison import Detections, compare
from mmblocks.export.export import predict
from mmblocks.export.fixed_size import fixed_sizes, move_to_nms
from mmblocks.export.graph import ImageToDetections
from mmblocks.export.images import random_images
from mmblocks.utils.errors import UserError
from tests.test_detectors import DETECTORS, build_in

NMS = ConfigDict(type='nms', iou_threshold=0.5, max_num=20)
BACKBONE = dict(type='MobileNetV2', widen_factor=0.25, out_indices=(1, 2, 4, 6))


def finding(base, mmdet_models):
    """A detector of mmdet with random weights that find something."""
    model = build_in(base, BACKBONE, mmdet_models)
    for name, module in model.named_modules():
        if 'head' in name and getattr(module, 'bias', None) is not None:
            torch.nn.init.normal_(module.weight, std=0.1)
            torch.nn.init.normal_(module.bias, std=0.3)
    return model.eval()


def boxes(number):
    corners = torch.rand(number, 2) * 60
    return torch.cat([corners, corners + 4 + torch.rand(number, 2) * 30], dim=1)


@pytest.mark.parametrize('topk', [5, 40, 1000])
def test_the_best_scores_are_those_of_mmdet_and_then_zeros(topk):
    from mmdet.models.utils import misc

    scores, priors = torch.rand(30, 4), torch.rand(30, 4)
    wanted = misc.filter_scores_and_topk(scores, 0.6, topk, dict(priors=priors))
    with fixed_sizes():
        found = misc.filter_scores_and_topk(scores, 0.6, topk, dict(priors=priors))
    count = len(wanted[0])
    assert len(found[0]) == min(topk, scores.numel())
    assert found[0][count:].count_nonzero() == 0
    for ours, theirs in zip(found[:3], wanted[:3], strict=True):
        assert torch.equal(ours[:count], theirs)
    assert torch.equal(found[3]['priors'][:count], wanted[3]['priors'])


@pytest.mark.parametrize('class_agnostic', [False, True])
def test_nms_keeps_the_boxes_that_mmcv_keeps(class_agnostic):
    from mmcv.ops import batched_nms
    from mmdet.models.dense_heads import base_dense_head

    args = boxes(200), torch.rand(200), torch.randint(0, 3, (200,))
    wanted, keep = batched_nms(*args, NMS, class_agnostic=class_agnostic)
    with fixed_sizes():
        found, indices = base_dense_head.batched_nms(*args, NMS, class_agnostic=class_agnostic)
    assert torch.equal(found, wanted)
    assert torch.equal(indices, keep)


def test_where_nms_keeps_too_few_the_best_comes_again_without_a_score():
    from mmdet.models.dense_heads import base_dense_head

    args = boxes(1).repeat(30, 1), torch.rand(30), torch.zeros(30)
    with fixed_sizes():
        found, indices = base_dense_head.batched_nms(*args, NMS)
    assert indices.tolist() == [int(args[1].argmax())] * 20
    assert found[1:, 4].count_nonzero() == 0


def test_nms_of_classes_keeps_what_mmdet_keeps():
    from mmdet.models.roi_heads.bbox_heads import bbox_head

    args = boxes(90).view(30, 12), torch.rand(30, 4), 0.3, NMS, 20
    wanted = bbox_head.multiclass_nms(*args)
    with fixed_sizes():
        found = bbox_head.multiclass_nms(*args)
    assert torch.equal(found[0], wanted[0])
    assert torch.equal(found[1], wanted[1])


def test_another_nms_is_refused():
    from mmdet.models.dense_heads import base_dense_head

    with fixed_sizes(), pytest.raises(UserError, match='soft_nms'):
        suppress_other_than_plain(base_dense_head)


def suppress_other_than_plain(module):
    module.batched_nms(boxes(2), torch.rand(2), torch.zeros(2), dict(type='soft_nms'))


def test_mmdet_has_its_own_functions_back_after_an_error():
    from mmdet.models.dense_heads import base_dense_head

    own = base_dense_head.filter_scores_and_topk
    with pytest.raises(UserError), fixed_sizes():
        suppress_other_than_plain(base_dense_head)
    with fixed_sizes():
        assert base_dense_head.filter_scores_and_topk is not own
    assert base_dense_head.filter_scores_and_topk is own


@pytest.mark.parametrize('base', DETECTORS, ids=lambda base: base.split('/')[0])
def test_a_detector_finds_the_same_on_them(base, mmdet_models):
    model = finding(base, mmdet_models)
    (image,) = random_images(1, (96, 128))
    wanted = predict(model, image, 10)
    assert len(wanted) == 10
    move_to_nms(model, 100)
    with fixed_sizes(), torch.no_grad():
        dets, labels = ImageToDetections(model, 10)(image[None])[:2]
    found = Detections(dets[0, :, :4].numpy(), dets[0, :, 4].numpy(), labels[0].numpy())
    differences = compare(wanted, found, 10, 0.0)
    assert differences.compared >= 9
    assert not differences.exceed(boxes=1e-3, scores=1e-5)


def test_masks_are_those_of_mmdet(mmdet_models):
    from mmblocks.export.graph import image_sample

    model = finding('mask_rcnn/mask-rcnn_r50_fpn_1x_coco', mmdet_models)
    (image,) = random_images(1, (96, 128))
    data = dict(inputs=[image], data_samples=[image_sample((96, 128), (96, 128))])
    with torch.no_grad():
        (result,) = model.test_step(data)
    wanted = result.pred_instances.masks
    move_to_nms(model, 100)
    with fixed_sizes(), torch.no_grad():
        found = ImageToDetections(model, 10)(image[None])[2][0]
    assert wanted.any()
    assert (found == wanted).float().mean() > 0.999
