"""Stitch layers into backbones and compare: see ``python tools/stitch.py --help``."""

from mmblocks.cli.stitch import main

if __name__ == '__main__':
    main()
