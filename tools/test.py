"""Test a detector: ``python tools/test.py CONFIG CHECKPOINT``; see ``--help``."""

from mmblocks.engine.cli import test

if __name__ == '__main__':
    test()
