"""Train on own data: ``python tools/new.py --base BASE --train ANN IMAGES --val ANN IMAGES``."""

from mmblocks.cli.new import main

if __name__ == '__main__':
    main()
