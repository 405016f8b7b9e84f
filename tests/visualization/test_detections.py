"""The grid shows each scene twice: what was drawn, and what was found above the threshold."""

import json

import numpy as np
import pytest
from PIL import Image

from mmblocks.visualization import draw_detections

BOX = [10, 20, 30, 40]


@pytest.fixture
def grid(tmp_path):
    """Draws the grid of one grey scene with one digit, for given detections."""
    Image.new('RGB', (160, 160), (60, 60, 60)).save(tmp_path / 'scene.png')
    truth = dict(
        images=[dict(id=1, file_name='scene.png', width=160, height=160)],
        annotations=[dict(id=1, image_id=1, category_id=4, bbox=BOX)],
        categories=[dict(id=4, name='3')],
    )
    (tmp_path / 'truth.json').write_text(json.dumps(truth))

    def draw(*detections):
        (tmp_path / 'found.json').write_text(json.dumps(detections))
        out = draw_detections(
            tmp_path / 'truth.json',
            tmp_path,
            tmp_path / 'found.json',
            tmp_path / 'grid.png',
            palette=[(255, 0, 0)],
        )
        picture = np.asarray(Image.open(out).convert('RGB')).astype(int)
        red = (picture[..., 0] - picture[..., 1:].max(-1)) > 60
        # Three pairs in a row, of which only the first is used.
        side = red.shape[1] // 6
        return red[:, :side].sum(), red[:, side : 2 * side].sum()

    return draw


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
