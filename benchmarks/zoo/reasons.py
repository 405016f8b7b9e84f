"""Why configs of mmdet's zoo fail, each looked into by hand, and what they need beside mmdet."""

from __future__ import annotations

import re

from benchmarks.zoo.run import Result

# By folder: packages that mmdet imports for these models.
NEEDS = {
    'boxinst': 'scikit-image',
    'bytetrack': 'lap',
    'convnext': 'mmpretrain',
    'deepsort': 'motmetrics, mmpretrain',
    'glip': 'transformers',
    'grounding_dino': 'transformers',
    'misc': 'detectron2 for three',
    'mm_grounding_dino': 'transformers',
    'ocsort': 'lap',
    'reid': 'mmpretrain',
    'rtmdet': 'mmpretrain for the classifiers and ConvNeXt',
    'sort': 'motmetrics, mmpretrain',
    'strongsort': 'motmetrics, mmpretrain',
    'timm_example': 'mmpretrain, timm',
}

# A pattern of the first error, and the reason.
_REASONS = (
    (r'FileNotFoundError', 'It inherits from a file that is not in the wheel.'),
    (r'Please install Detectron2', 'It wraps a model of Detectron2, of which there are no wheels.'),
    (
        r"SSDHead' object has no attribute 'loss_cls'",
        'To predict, mmdet 3.3.0 asks a head for its `loss_cls`, and that of SSD has none.',
    ),
    (
        r'CascadeRPNHead.* missing .*num_classes',
        '`RPN` of mmdet 3.3.0 does not give its head the `num_classes` that this head needs.',
    ),
    (
        r"unexpected keyword argument 'force_grad_on_level'",
        "It gives FPN an argument that mmdet 3.3.0's FPN does not have.",
    ),
    (
        r'inconsistent with step sign',
        'On a CPU mmdet pastes each mask by itself, which fails for a box outside of the image, '
        'and those of an untrained QueryInst are.',
    ),
    (
        r"has no attribute 'assigner'",
        'The config is for zero-shot prediction, without a `train_cfg`.',
    ),
    (
        r'at non-singleton dimension 1 \(models/losses/utils.py',
        'The config is for zero-shot prediction and names no losses; with those that the head has '
        'by default its loss for boxes gets weights of another shape.',
    ),
)


def reason_for(result: Result) -> str:
    """Returns why a config fails: in words where that was looked into, else its error.

    Args:
        result: What became of it.
    """
    error = next(filter(None, result.outcome))
    return next((reason for pattern, reason in _REASONS if re.search(pattern, error)), error)
