"""Measure the nets beside the same nets of other libraries: see ``--help``."""

from mmblocks.cli.benchmark import main

if __name__ == '__main__':
    main()
