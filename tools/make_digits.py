"""Make the digits data set: ``python tools/make_digits.py [FOLDER]``; see ``--help``."""

from mmblocks.cli.make_digits import main

if __name__ == '__main__':
    main()
