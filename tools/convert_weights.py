"""Convert weights: ``python tools/convert_weights.py SRC DST --arch NAME --to LIBRARY``."""

from mmblocks.convert_cli import main

if __name__ == '__main__':
    main()
