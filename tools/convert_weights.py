"""Convert weights: ``python tools/convert_weights.py SRC DST --arch NAME --to LIBRARY``."""

from mmblocks.cli.convert import main

if __name__ == '__main__':
    main()
