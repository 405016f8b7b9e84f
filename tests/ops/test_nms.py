"""Non-maximum suppression keeps what mmcv's compiled op keeps."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmblocks.ops.nms import nms, nms_match, soft_nms


def boxes_and_scores(count, seed, least=0):
    """Boxes on a coarse grid, so that equal ones and ties of scores and overlaps are frequent."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([start, start + rng.integers(least, 20, (count, 2))], axis=1)
    scores = rng.integers(0, max(count, 1), count) / max(count, 1)
    return torch.tensor(boxes, dtype=torch.float32), torch.tensor(scores, dtype=torch.float32)


drawn = given(
    count=st.sampled_from([0, 1, 2, 7, 255, 256, 257, 700]),
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
    offset=st.integers(0, 1),
)
few = settings(max_examples=25, deadline=None)


@few
@drawn
def test_it_keeps_what_the_compiled_op_keeps(compiled, count, seed, threshold, offset):
    boxes, scores = boxes_and_scores(count, seed)
    with compiled() as ops:
        _, expected = ops.nms(boxes, scores, threshold, offset)
    assert torch.equal(nms(boxes, scores, threshold, offset), expected)


@settings(few, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.sampled_from([1, 40, 600]),
    classes=st.sampled_from([1, 2, 5, 80]),
    seed=st.integers(0, 99),
    threshold=st.sampled_from([0.1, 0.5, 0.7]),
)
def test_batches_of_classes_keep_what_they_keep_compiled(
    compiled, on_forms, count, classes, seed, threshold
):
    boxes, scores = boxes_and_scores(count, seed)
    labels = torch.arange(count) * seed % classes
    options = (boxes, scores, labels, dict(type='nms', iou_threshold=threshold))
    got = on_forms.batched_nms(*options)
    with compiled() as ops:
        expected = ops.batched_nms(*options)
    assert_close(got, expected, rtol=0, atol=0)


@few
@drawn
def test_soft_nms_gives_the_scores_of_the_compiled_op(compiled, count, seed, threshold, offset):
    # Where two boxes have no area, mmcv's gaussian makes scores NaN.
    boxes, scores = boxes_and_scores(min(count, 60), seed, least=1)
    for number, method in enumerate(('naive', 'linear', 'gaussian')):
        dets, kept = soft_nms(boxes, scores, threshold, 0.5, 0.01, number, offset)
        with compiled() as ops:
            expected, indices = ops.soft_nms(
                boxes, scores, threshold, 0.5, 0.01, method=method, offset=offset
            )
        assert torch.equal(kept, indices)
        assert_close(dets, expected)


@few
@drawn
def test_nms_match_gives_the_groups_of_the_compiled_op(compiled, count, seed, threshold, offset):
    boxes, scores = boxes_and_scores(min(count, 60), seed)
    dets = torch.cat([boxes, scores[:, None]], dim=1)
    if not len(dets):
        assert nms_match(dets, threshold) == []
        return
    with compiled() as ops:
        expected = [group.tolist() for group in ops.nms_match(dets, threshold)]
    assert nms_match(dets, threshold) == expected


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16])
def test_every_dtype_keeps_the_same(dtype):
    boxes, scores = boxes_and_scores(100, seed=0)
    assert torch.equal(nms(boxes.to(dtype), scores, 0.5), nms(boxes, scores, 0.5))


def test_a_box_is_compared_with_those_that_are_kept_only():
    # The middle one of three beats the last, but goes itself.
    boxes = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
    assert nms(boxes, torch.tensor([3.0, 2, 1]), 0.4).tolist() == [0, 2]


def test_it_is_one_op_in_a_traced_graph():
    class Suppress(torch.nn.Module):
        def forward(self, boxes, scores):
            return torch.ops.mmblocks.nms(boxes, scores, 0.5)

    boxes, scores = boxes_and_scores(50, seed=0)
    exported = torch.export.export(Suppress(), (boxes, scores)).module()
    other = boxes_and_scores(50, seed=1)
    assert torch.equal(exported(*other), nms(*other, 0.5))
