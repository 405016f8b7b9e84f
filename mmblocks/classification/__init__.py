"""Classifying pictures with a backbone's own classifier, in MMEngine's Runner alone.

Not imported by ``import mmblocks``: a config names it in ``custom_imports``.
"""

from mmblocks.classification.accuracy import Top1Accuracy
from mmblocks.classification.classifier import BackboneClassifier
from mmblocks.classification.digits import HandwrittenDigits

__all__ = ['BackboneClassifier', 'HandwrittenDigits', 'Top1Accuracy']
