"""The generated digits data set: scenes of real handwriting in COCO format."""

from mmblocks.datasets.digits import DigitsSettings, make_digits

__all__ = ['DigitsSettings', 'make_digits']
