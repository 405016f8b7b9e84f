"""The table of parity: every net of ours beside the same net of other libraries."""

from tests.pairs import mobile, others, resnets  # they fill the table
from tests.pairs.others import activated_last
from tests.pairs.table import PAIRS, SAME_KEYS, SAME_ORDER, SHAPES, one_of_each

__all__ = [
    'PAIRS',
    'SAME_KEYS',
    'SAME_ORDER',
    'SHAPES',
    'activated_last',
    'mobile',
    'one_of_each',
    'others',
    'resnets',
]
