"""Compare fine-tuning, frozen at several depths, with training from scratch; see ``--help``."""

from mmblocks.cli.transfer import main

if __name__ == '__main__':
    main()
