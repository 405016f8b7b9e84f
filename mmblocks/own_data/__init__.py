"""Training on own data: what ``mmblocks new`` runs."""

from mmblocks.own_data.checks import Finding, check_classes, check_split
from mmblocks.own_data.new import NewConfig, Options, new_config
from mmblocks.own_data.read import read_split

__all__ = [
    'Finding',
    'NewConfig',
    'Options',
    'check_classes',
    'check_split',
    'new_config',
    'read_split',
]
