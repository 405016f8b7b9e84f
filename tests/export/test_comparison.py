"""Which differences of detections count."""

import numpy as np

from mmblocks.export.comparison import Detections, compare

BOXES = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [5, 5, 9, 30]], np.float32)
ALL = Detections(BOXES, np.array([0.9, 0.6, 0.2], np.float32), np.array([1, 1, 2]))


def part(*rows, shift=0.0, labels=ALL.labels):
    rows = list(rows)
    return Detections(ALL.boxes[rows] + shift, ALL.scores[rows], labels[rows])


def test_the_order_does_not_count():
    differences = compare(ALL, part(2, 0, 1), 100, 0.05)
    assert differences.compared == 3
    assert not differences.exceed(boxes=0.0, scores=0.0)


def test_the_largest_difference_is_given():
    differences = compare(ALL, part(0, 1, 2, shift=0.5), 100, 0.05)
    assert differences.boxes == 0.5
    assert differences.exceed(boxes=0.4, scores=0.0)
    assert not differences.exceed(boxes=0.6, scores=0.0)


def test_one_that_is_not_found_counts_on_either_side():
    for differences in (compare(ALL, part(0, 2), 100, 0.05), compare(part(0, 2), ALL, 100, 0.05)):
        assert differences.missing == 1
        assert differences.exceed(boxes=1.0, scores=1.0)


def test_another_label_is_another_detection():
    other = part(0, 1, 2, labels=np.array([1, 0, 2]))
    assert compare(ALL, other, 100, 0.05).missing == 2


def test_one_at_the_threshold_or_at_the_end_of_a_full_list_may_lack():
    assert compare(ALL, part(0, 1), 100, score_thr=0.2).missing == 0
    assert compare(ALL, part(0, 1), max_per_img=2, score_thr=0.05).missing == 0
    assert compare(ALL, part(0, 1), 100, score_thr=0.05).missing == 1
