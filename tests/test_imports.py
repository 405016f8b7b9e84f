"""Rooms of the package import from those below them only, by absolute names."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'mmblocks'
# Each room with those whose modules its own may import.
BELOW = {
    'doctor': (),
    'utils': (),
    'ops': ('utils',),
    'weights': ('utils',),
    'layers': ('ops', 'utils'),
    'inference': ('layers', 'utils'),
    'plugins': ('layers', 'ops', 'utils'),
    'necks': ('layers', 'weights', 'utils'),
    'backbones': ('inference', 'plugins', 'layers', 'ops', 'weights', 'utils'),
    'hooks': ('inference', 'backbones', 'weights', 'utils'),
    'describe': ('backbones', 'plugins', 'weights', 'utils'),
    'engine': ('hooks', 'backbones', 'weights', 'utils'),
    'swap': ('engine', 'describe', 'backbones', 'weights', 'utils'),
    'own_data': ('swap', 'engine', 'describe', 'backbones', 'weights', 'utils'),
    'export': ('engine', 'inference', 'ops', 'weights', 'utils'),
    'deploy': (),
    'digits': ('engine', 'describe', 'hooks', 'backbones', 'weights', 'utils'),
    'benchmark': ('backbones', 'utils'),
    'cli': (
        'benchmark',
        'digits',
        'doctor',
        'export',
        'own_data',
        'swap',
        'engine',
        'describe',
        'hooks',
        'backbones',
        'weights',
        'utils',
    ),
}


def imported(path):
    """Yields the modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names = [f'{node.module}.{alias.name}' for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith('mmblocks.'))


def test_every_room_is_in_the_table():
    rooms = {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
    assert rooms == set(BELOW)


@pytest.mark.parametrize('room', BELOW)
def test_imports_point_down_only(room):
    allowed = {room, 'version', *BELOW[room]}
    wrong = {
        f'{path.relative_to(PACKAGE)} imports {name}'
        for path in (PACKAGE / room).rglob('*.py')
        for name in imported(path)
        if name.split('.')[1] not in allowed
    }
    assert wrong == set()
