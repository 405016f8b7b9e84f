"""Positions around a block where plugins can go."""

AFTER_BLOCK, PARALLEL = 'after_block', 'parallel'
# Both are at the block itself, whose name within itself is ''.
AROUND_BLOCK = {AFTER_BLOCK: '', PARALLEL: ''}
