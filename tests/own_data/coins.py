"""A photograph of 24 Greek coins, cut into a data set with boxes of its own labelling.

The picture comes with scikit-image: its coins.png, from the Brooklyn Museum's collection. It is
taken from the wheel in the folder of peers; no code of scikit-image runs.
"""

import json

import cv2
import numpy as np
import pytest
from scipy import ndimage

from tests.conftest import PEERS

SIDE = 96  # of the images
VISIBLE = 0.4  # the share of a coin from which on it is labelled


def picture():
    """The photograph, in grey."""
    path = PEERS / 'skimage' / 'data' / 'coins.png'
    if not path.is_file():
        pytest.skip(f'{path} is not there: `make test` brings it')
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def find_coins(grey):
    """Boxes (x1, y1, x2, y2) of what is lighter than its surroundings."""
    surroundings = cv2.GaussianBlur(grey, (0, 0), 40)
    light = cv2.GaussianBlur(grey, (5, 5), 0).astype(float) - surroundings > 12
    light = ndimage.binary_opening(ndimage.binary_fill_holes(light), iterations=4)
    labels, _ = ndimage.label(light)
    slices = ndimage.find_objects(labels)
    return np.array([(x.start, y.start, x.stop, y.stop) for y, x in slices])


def write_coins(folder, train=24, val=8):
    """Writes train and val as COCO: windows of the upper and of the lower half."""
    grey = picture()
    boxes = find_coins(grey)
    rng = np.random.default_rng(0)
    middle = grey.shape[0] // 2
    for name, number, rows in (('train', train, (0, middle)), ('val', val, (middle, 303))):
        (folder / name).mkdir(parents=True)
        images, annotations = [], []
        for i in range(number):
            top = int(rng.integers(rows[0], rows[1] - SIDE + 1))
            left = int(rng.integers(0, grey.shape[1] - SIDE + 1))
            window = grey[top : top + SIDE, left : left + SIDE]
            cv2.imwrite(str(folder / name / f'{i}.png'), window)
            images.append(dict(id=i, file_name=f'{i}.png', width=SIDE, height=SIDE))
            shifted = boxes - (left, top, left, top)
            for x1, y1, x2, y2 in np.clip(shifted, 0, SIDE)[_seen(shifted) >= VISIBLE].tolist():
                box = dict(bbox=[x1, y1, x2 - x1, y2 - y1], area=(x2 - x1) * (y2 - y1))
                ids = dict(id=len(annotations) + 1, image_id=i, category_id=1, iscrowd=0)
                annotations.append(ids | box)
        content = dict(images=images, annotations=annotations)
        content |= dict(categories=[dict(id=1, name='coin')])
        (folder / f'{name}.json').write_text(json.dumps(content))
    return folder


def _seen(boxes):
    """The share of each box that is in the window."""
    inside = np.clip(boxes, 0, SIDE)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (inside, boxes)]
    return areas[0] / areas[1]
