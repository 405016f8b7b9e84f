"""Training and testing: what ``tools/train.py`` and ``tools/test.py`` are made of.

Everything here works with any config for mmdet, ours or not. mmdet itself is imported only when
something is built.
"""

from mmblocks.engine.amp import BF16OptimWrapper
from mmblocks.engine.config import find_config, load_config, merge_options
from mmblocks.engine.launch import end_process_group
from mmblocks.engine.runner import build_runner, prepare
from mmblocks.utils.errors import UserError
from mmblocks.weights.files import guard_loaders, read_checkpoint

__all__ = [
    'BF16OptimWrapper',
    'UserError',
    'build_runner',
    'end_process_group',
    'find_config',
    'guard_loaders',
    'load_config',
    'merge_options',
    'prepare',
    'read_checkpoint',
]
