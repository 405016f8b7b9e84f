"""Prints the tables of backbones and of whose weights they load, or writes them into the README."""

import argparse
import re
from pathlib import Path

from mmblocks.describe import markdown_peers, markdown_table

README = Path(__file__).parents[1] / 'README.md'
TABLES = dict(backbones=markdown_table, weights=markdown_peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--write-readme', action='store_true', help='put the tables into README.md')
    args = parser.parse_args()
    text = README.read_text()
    for name, make in TABLES.items():
        table = make()
        if not args.write_readme:
            print(f'{table}\n')
            continue
        start, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
        place = re.compile(f'{start}.*?{end}', re.DOTALL)
        text, places = place.subn(lambda _, t=f'{start}{table}\n{end}': t, text)
        if places != 1:
            raise SystemExit(f'{README} must have one "{start.strip()} ... {end}"')
    if args.write_readme:
        README.write_text(text)


if __name__ == '__main__':
    main()
