"""Test a detector: ``python tools/test.py CONFIG CHECKPOINT``; see ``--help``."""

from mmblocks.cli.test import main

if __name__ == '__main__':
    main()
