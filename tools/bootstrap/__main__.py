"""Builds the environment of this checkout: ``python tools/bootstrap GOAL``, as the Makefile does.

This file alone must be readable by any Python, so that an old one is told what is wrong.
"""

import sys

OLDEST, NEWEST = (3, 10), (3, 12)

if not OLDEST <= sys.version_info[:2] <= NEWEST:
    sys.stderr.write(
        'set-up: this is Python {}.{}; mmblocks needs Python {}.{} to {}.{}.\n'
        '  Install one of these (on Debian and Ubuntu: apt install python3.11 python3.11-venv\n'
        '  python3.11-dev; elsewhere: pyenv install 3.11) and name it: make PYTHON=python3.11 ...\n'
        .format(*(sys.version_info[:2] + OLDEST + NEWEST))
    )  # fmt: skip
    sys.exit(1)

from steps import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
