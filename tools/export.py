"""Export a detector: ``python tools/export.py CONFIG CHECKPOINT --out FILE``; see ``--help``."""

from mmblocks.cli.export import main

if __name__ == '__main__':
    main()
