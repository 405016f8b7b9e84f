"""Positions around a block where plugins can go."""

AFTER_BLOCK, PARALLEL = 'after_block', 'parallel'
# Both are at the block itself, which is its submodule ''.
AROUND_BLOCK = {AFTER_BLOCK: '', PARALLEL: ''}
