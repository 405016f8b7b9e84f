"""Swap the backbone of a config: ``python tools/swap_backbone.py BASE --backbone NAME``."""

from mmblocks.cli.swap import main

if __name__ == '__main__':
    main()
