"""Train a detector: ``python tools/train.py CONFIG``; see ``--help``."""

from mmblocks.cli.train import main

if __name__ == '__main__':
    main()
