"""Train a small detector on generated digits and show what it finds: see ``--help``."""

from mmblocks.cli.demo import main

if __name__ == '__main__':
    main()
