"""Describe backbones: ``python tools/describe_backbones.py [--show NAME_OR_CONFIG]``."""

from mmblocks.describe_cli import main

if __name__ == '__main__':
    main()
