"""Train a small detector on generated digits and show what it finds: see ``--help``."""

import os
from pathlib import Path

DEVICE_FILE = Path(__file__).resolve().parents[1] / '.venv' / 'mmblocks-device'

if __name__ == '__main__':
    # Set-up wrote down what mmcv's ops are built for; torch reads the variable when imported.
    if DEVICE_FILE.is_file() and DEVICE_FILE.read_text().strip() == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''

    from mmblocks.cli.demo import main

    main()
