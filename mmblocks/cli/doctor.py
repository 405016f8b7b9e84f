"""The command ``mmblocks doctor`` and ``tools/doctor.py``."""

from __future__ import annotations

import argparse
import sys

from mmblocks.cli.arguments import make_parser
from mmblocks.cli.command import command
from mmblocks.doctor import diagnose


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    return make_parser(
        'Print versions, ops in use and devices, and what is wrong with the environment.',
        epilog='Ends with exit code 1 if something is wrong. Paste all of it into an issue.',
    ).parse_args()


@command
def main() -> None:
    """Prints the state of the environment."""
    parse_args()
    diagnosis = diagnose()
    print(diagnosis.text)
    if diagnosis.problems:
        sys.exit(1)
