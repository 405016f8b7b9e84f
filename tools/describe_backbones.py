"""Describe backbones: ``python tools/describe_backbones.py [--show NAME_OR_CONFIG]``."""

from mmblocks.cli.describe import main

if __name__ == '__main__':
    main()
