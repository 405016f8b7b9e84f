"""Prints the table of backbones, or writes it into the README."""

import argparse
import re
from pathlib import Path

from mmblocks.describe import markdown_table

README = Path(__file__).parents[1] / 'README.md'
PLACE = re.compile(r'(<!-- backbones -->\n).*?(<!-- /backbones -->)', re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--write-readme', action='store_true', help='put the table into README.md')
    args = parser.parse_args()
    table = markdown_table()
    if not args.write_readme:
        print(table)
        return
    text, places = PLACE.subn(lambda match: f'{match[1]}{table}\n{match[2]}', README.read_text())
    if places != 1:
        raise SystemExit(f'{README} must have one "<!-- backbones --> ... <!-- /backbones -->"')
    README.write_text(text)


if __name__ == '__main__':
    main()
