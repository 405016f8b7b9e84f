"""An example: handwritten digits to detect and to classify, from generated data to a table.

Nothing else of mmblocks imports it. ``import mmblocks.digits`` registers what its classification
config names; the detectors of digits are made of mmdet's parts and need ``mmblocks`` alone.
"""

from mmblocks.digits.classification import BackboneClassifier, HandwrittenDigits, Top1Accuracy
from mmblocks.digits.dataset import DigitsSettings, make_digits

__all__ = [
    'BackboneClassifier',
    'DigitsSettings',
    'HandwrittenDigits',
    'Top1Accuracy',
    'make_digits',
]
