"""Train a detector: ``python tools/train.py CONFIG``; see ``--help``."""

from mmblocks.engine.cli import train

if __name__ == '__main__':
    train()
