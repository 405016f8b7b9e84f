"""The digits that scikit-learn carries, as pictures to classify."""

from __future__ import annotations

import mmcv
import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor
from torch.utils.data import Dataset

from mmblocks.datasets.handwriting import load_handwriting

SPLITS = ('train', 'test')


@DATASETS.register_module()
class HandwrittenDigits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels, enlarged.

    The halves are those of scikit-learn's own example: the first for training, the second for
    testing, in the order of the file, so that most hands of the one are not in the other.

    Args:
        split: ``'train'``, the first 898 samples, or ``'test'``, the other 899.
        size: Height and width of the pictures, in pixels.
        max_angle: Most degrees that a picture is turned by, either way, at random.
        max_zoom: Most that a picture is enlarged or reduced by, as a share of its size.
        max_shift: Most that a picture is moved by along each axis, as a share of its size.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: There is no such split.

    Example:
        >>> digits = HandwrittenDigits('test')
        >>> len(digits), digits[0]['inputs'].shape, digits[0]['data_samples']
        (899, torch.Size([1, 32, 32]), 8)
    """

    metainfo = dict(classes=tuple('0123456789'))

    def __init__(
        self,
        split: str = 'train',
        size: int = 32,
        max_angle: float = 0.0,
        max_zoom: float = 0.0,
        max_shift: float = 0.0,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split={split!r}: must be one of {list(SPLITS)}')
        images, labels = load_handwriting()
        half = len(images) // 2
        part = slice(half) if split == 'train' else slice(half, None)
        self.images = [mmcv.imresize(image, (size, size)) for image in images[part]]
        self.labels = labels[part].tolist()
        self.max_angle = max_angle
        self.max_zoom = max_zoom
        self.max_shift = max_shift

    def __len__(self) -> int:
        """Returns the number of pictures."""
        return len(self.images)

    def __getitem__(self, i: int) -> dict[str, Tensor | int]:
        """Returns a picture, (1, size, size) from 0, paper, to 1, ink, and its digit."""
        image = self._moved(self.images[i])
        return dict(inputs=torch.from_numpy(image)[None], data_samples=self.labels[i])

    def _moved(self, image: np.ndarray) -> np.ndarray:
        angle, zoom, *shift = np.random.uniform(-1, 1, 4)
        if self.max_angle or self.max_zoom:
            image = mmcv.imrotate(image, angle * self.max_angle, scale=1 + zoom * self.max_zoom)
        if self.max_shift:
            for share, direction in zip(shift, ('horizontal', 'vertical'), strict=True):
                pixels = share * self.max_shift * len(image)
                image = mmcv.imtranslate(image, pixels, direction)
        return image
