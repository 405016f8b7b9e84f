"""Images that an exported file is tried on: of the config's test set, or random ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import Tensor

from mmblocks.engine.data import check_data, scope_of
from mmblocks.utils.errors import UserError


def test_images(
    cfg: Config, number: int, size: Sequence[int], color: Sequence[float]
) -> list[Tensor] | None:
    """Returns images of a config's test set, spread evenly over it.

    Args:
        cfg: The config.
        number: How many at most.
        size: Height and width in pixels to bring them to.
        color: What pads them, BGR.

    Returns:
        Images, (3, H, W) each, from 0 to 255; None where the data is not there.
    """
    try:
        check_data(cfg, 'test')
    except UserError:
        return None
    if cfg.get('test_dataloader') is None:
        return None
    with scope_of(cfg):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    number = min(number, len(dataset))
    chosen = [i * len(dataset) // number for i in range(number)]
    return [on_canvas(dataset[i]['inputs'], size, color) for i in chosen]


def on_canvas(image: Tensor, size: Sequence[int], color: Sequence[float]) -> Tensor:
    """Puts an image into the top left corner of one of another size, scaled down if it must be.

    Args:
        image: (3, h, w), from 0 to 255.
        size: Height and width in pixels.
        color: What is around it, BGR.

    Returns:
        (3, *size), of float32.

    Example:
        >>> on_canvas(torch.ones(3, 1, 2), (2, 2), (0, 0, 5))[2]
        tensor([[1., 1.],
                [5., 5.]])
    """
    image = image.float()
    scale = min(size[0] / image.shape[1], size[1] / image.shape[2], 1.0)
    if scale < 1:
        shape = [max(1, int(pixels * scale)) for pixels in image.shape[1:]]
        image = F.interpolate(image[None], shape, mode='bilinear', antialias=True)[0]
    canvas = torch.tensor(color, dtype=torch.float32)[:, None, None].repeat(1, *size)
    canvas[:, : image.shape[1], : image.shape[2]] = image
    return canvas


def random_images(number: int, size: Sequence[int]) -> list[Tensor]:
    """Returns images of random patches of all sizes.

    Args:
        number: How many.
        size: Height and width in pixels.

    Returns:
        Images, (3, H, W) each, from 0 to 255; the same ones at every call.
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(number, 3, *size)
    for cells in (2, 5, 11, 23):
        noise = torch.rand(number, 3, cells, cells, generator=generator)
        images += F.interpolate(noise, tuple(size), mode='nearest')
    return list((images / 4 * 255).round())
