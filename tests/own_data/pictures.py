"""Small sets of pictures with squares, in COCO's form."""

import json

import cv2
import numpy as np

from mmblocks.own_data import read_split


def square_set(folder, name='train', pictures=12, side=20, size=(64, 48)):
    """Writes pictures with a red or a green square, and returns their annotations."""
    rng = np.random.default_rng(len(name))
    (folder / name).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    width, height = size
    for i in range(pictures):
        picture = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        picture[y : y + side, x : x + side] = ((30, 30, 250), (30, 250, 30))[i % 2]
        cv2.imwrite(str(folder / name / f'{i}.png'), picture)
        images.append(dict(id=i + 1, file_name=f'{i}.png', width=width, height=height))
        box = dict(bbox=[x, y, side, side], area=side**2, iscrowd=0)
        box |= dict(segmentation=[[x, y, x + side, y, x + side, y + side, x, y + side]])
        ids = dict(id=i + 1, image_id=i + 1, category_id=(30, 7)[i % 2])
        annotations.append(ids | box)
    # Ids of categories need no order.
    categories = [dict(id=30, name='red'), dict(id=7, name='green')]
    return dict(images=images, annotations=annotations, categories=categories)


def write(folder, content, name='train'):
    """Writes annotations beside their pictures; returns the arguments of ``--train``."""
    path = folder / f'{name}.json'
    path.write_text(json.dumps(content))
    return [str(path), str(folder / name)]


def two_splits(folder, **options):
    """Writes and reads a training and a validation split."""
    return [
        read_split(name, write(folder, square_set(folder, name, **options), name))
        for name in ('train', 'val')
    ]
