"""Pictures of a training and of what a detector finds."""

from mmblocks.visualization.detections import draw_detections
from mmblocks.visualization.history import History, bbox_scores, draw_history, read_history
from mmblocks.visualization.progress import ProgressHook

__all__ = [
    'History',
    'ProgressHook',
    'bbox_scores',
    'draw_detections',
    'draw_history',
    'read_history',
]
