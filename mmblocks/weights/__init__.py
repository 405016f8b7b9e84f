"""Weights: loading them safely and under any of the names that other libraries use."""

from mmblocks.weights.key_mapping import KeyMapping, register_key_mappings, rename_keys
from mmblocks.weights.loading import load_pretrained
from mmblocks.weights.report import LoadReport
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints
from mmblocks.weights.timm_scheme import load_from_timm

__all__ = [
    'KeyMapping',
    'LoadReport',
    'register_key_mappings',
    'allow_mmengine_checkpoints',
    'load_from_timm',
    'load_pretrained',
    'rename_keys',
]
