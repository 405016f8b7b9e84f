"""``mmblocks COMMAND``: the first argument names the command, which reads the others."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from mmblocks.cli.command import command
from mmblocks.utils.errors import UserError, did_you_mean

# Each is a module beside this one; it is imported when its command runs.
COMMANDS = {
    'new': 'write a config that trains a detector on your own data',
    'train': 'train a detector',
    'test': 'test a detector',
    'export': 'write a detector to one file that runs without mmdet',
    'swap': 'write a config that swaps the backbone of another one',
    'convert': 'write the weights of a backbone under the names of another library',
    'describe': 'print the table of backbones, or the structure of one',
    'benchmark': 'measure the nets beside the same nets of other libraries',
    'demo': 'train a small detector on generated digits and show what it finds',
    'transfer': 'compare fine-tuning on the digits, frozen at several depths',
    'stitch': 'compare nets on the digits with other layers stitched in',
    'doctor': 'print what is installed, and what is wrong with it',
    'make_digits': 'make the digits data set',
}


@command
def main() -> None:
    """Runs the command that the first argument names."""
    parser = argparse.ArgumentParser(
        prog='mmblocks',
        description='Backbones, necks and blocks for OpenMMLab detectors.',
        epilog='mmblocks COMMAND --help shows the arguments of a command.',
    )
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    name, *arguments = sys.argv[1:] or ['--help']
    if name not in COMMANDS and not name.startswith('-'):
        hint = did_you_mean(name, COMMANDS)
        raise UserError(f'no command {name}; there are {", ".join(COMMANDS)}{hint}')
    parser.parse_args([name])
    sys.argv = [f'{parser.prog} {name}', *arguments]
    import_module(f'mmblocks.cli.{name}').main()
