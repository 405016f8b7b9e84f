"""Hooks: what mmblocks does during training. Importing this package registers them."""

from mmblocks.hooks.channels_last import ChannelsLastHook
from mmblocks.hooks.divergence import StopOnDivergenceHook
from mmblocks.hooks.epoch_seed import EpochSeedHook
from mmblocks.hooks.preprocessing import CheckPreprocessingHook
from mmblocks.hooks.safe_checkpoint import SafeCheckpointHook
from mmblocks.hooks.to_inference import ToInferenceHook
from mmblocks.hooks.unfreeze import UnfreezeHook

__all__ = [
    'ChannelsLastHook',
    'CheckPreprocessingHook',
    'EpochSeedHook',
    'SafeCheckpointHook',
    'StopOnDivergenceHook',
    'ToInferenceHook',
    'UnfreezeHook',
]
