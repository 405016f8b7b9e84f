"""The grid shows each scene twice: what was drawn, and what was found above the threshold."""

import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from PIL import Image
from torch.testing import assert_close

from mmblocks.digits.detections import _surest, draw_detections

BOX = [10, 20, 30, 40]


@pytest.fixture
def draw(tmp_path):
    """Draws the grid of one grey scene, of two classes: red and green."""
    Image.new('RGB', (160, 160), (60, 60, 60)).save(tmp_path / 'scene.png')

    def draw(annotations, detections):
        truth = dict(
            images=[dict(id=1, file_name='scene.png', width=160, height=160)],
            annotations=annotations,
            categories=[dict(id=4, name='3'), dict(id=7, name='8')],
        )
        (tmp_path / 'truth.json').write_text(json.dumps(truth))
        (tmp_path / 'found.json').write_text(json.dumps(detections))
        out = draw_detections(
            tmp_path / 'truth.json',
            tmp_path,
            tmp_path / 'found.json',
            tmp_path / 'grid.png',
            palette=[(255, 0, 0), (0, 255, 0)],
        )
        return np.asarray(Image.open(out).convert('RGB')).astype(int)

    return draw


@pytest.fixture
def grid(draw):
    """Counts the red pixels of both halves, where there is one digit, for given detections."""

    def count(*detections):
        picture = draw([dict(id=1, image_id=1, category_id=4, bbox=BOX)], detections)
        red = (picture[..., 0] - picture[..., 1:].max(-1)) > 60
        # Three pairs in a row, of which only the first is used.
        side = red.shape[1] // 6
        return red[:, :side].sum(), red[:, side : 2 * side].sum()

    return count


def test_what_was_found_is_drawn_like_what_is_there(grid):
    drawn, found = grid(dict(image_id=1, category_id=4, bbox=BOX, score=0.9))
    assert drawn > 100
    assert found == pytest.approx(drawn, rel=0.2)


def test_weak_detections_are_left_out(grid):
    drawn, found = grid(dict(image_id=1, category_id=4, bbox=BOX, score=0.1))
    assert drawn > 100
    assert found == 0


def test_nothing_found_leaves_the_scene_as_it_is(grid):
    drawn, found = grid()
    assert drawn > 100
    assert found == 0


def test_of_two_guesses_for_an_object_the_surest_alone_is_drawn(draw):
    red = dict(image_id=1, category_id=4, bbox=BOX, score=0.9)
    green = dict(image_id=1, category_id=7, bbox=[11, 21, 30, 40], score=0.6)
    surer = dict(green, score=0.95)
    assert (draw([], [green, red]) == draw([], [red])).all()
    assert (draw([], [red, surer]) == draw([], [surer])).all()
    assert (draw([], [red]) != draw([], [surer])).any()


def test_a_weaker_guess_elsewhere_is_drawn_too(draw):
    red = dict(image_id=1, category_id=4, bbox=BOX, score=0.9)
    elsewhere = dict(image_id=1, category_id=7, bbox=[90, 90, 30, 40], score=0.6)
    assert (draw([], [red, elsewhere]) != draw([], [red])).any()


def detections(*rows):
    """Instances of x1, y1, x2, y2, label and score."""
    table = torch.tensor(rows, dtype=torch.float32)
    return InstanceData(bboxes=table[:, :4], labels=table[:, 4].long(), scores=table[:, 5])


def test_the_surest_keep_their_boxes_labels_and_scores():
    found = detections(
        (0, 0, 10, 10, 1, 0.5),
        (50, 50, 60, 60, 2, 0.7),
        (1, 0, 11, 10, 3, 0.9),
        (0, 1, 10, 11, 1, 0.6),
    )
    left = _surest(found)
    order = left.labels.argsort()
    assert left.labels[order].tolist() == [2, 3]
    assert_close(left.scores[order], torch.tensor([0.7, 0.9]))
    assert_close(left.bboxes[order], found.bboxes[[1, 2]])
    assert len(found) == 4, 'what was given stays whole'


@pytest.mark.parametrize(
    # Boxes of 10x10 pixels: moved by 3 they share 70 of 130, moved by 4 60 of 140.
    ('moved', 'kept'),
    [(0, 1), (3, 1), (4, 2), (10, 2)],
)
def test_guesses_are_for_one_object_where_they_overlap_by_half(moved, kept):
    found = detections((0, 0, 10, 10, 1, 0.9), (moved, 0, 10 + moved, 10, 2, 0.8))
    assert len(_surest(found)) == kept


def test_a_guess_that_is_left_out_takes_no_other_with_it():
    # The middle one lies on both others, which do not lie on each other.
    found = detections((0, 0, 10, 10, 1, 0.9), (3, 0, 13, 10, 1, 0.8), (6, 0, 16, 10, 1, 0.7))
    assert_close(_surest(found).scores, torch.tensor([0.9, 0.7]))


def test_of_nothing_nothing_is_left():
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    assert len(_surest(nothing)) == 0
