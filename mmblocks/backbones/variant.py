"""The nets of a family that stand in the tables of backbones."""

from __future__ import annotations

from typing import NamedTuple

from mmblocks.utils.types import ConfigType


class Variant(NamedTuple):
    """A row of the table of backbones.

    Attributes:
        title: The net, as people name it.
        cfg: Its config; the ``type`` is left out where the variant stands in its own class.
        libraries: Those that it was proved equal to on the same weights, which load as they are.
        image_size: Height and width in pixels of the images that its MACs are counted for.
    """

    title: str
    cfg: ConfigType
    libraries: tuple[str, ...]
    image_size: int = 224
