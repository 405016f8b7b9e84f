"""What tells a whole step from a half-made one, and one set-up from another beside it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from console import say


def fingerprint(parts: Sequence[str]) -> str:
    """Hashes everything that a step depends on."""
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()


def write_stamp(stamp: Path, key: str, installed: set[str]) -> None:
    """Marks a step as whole.

    Args:
        stamp: File to write, in one go.
        key: The step's fingerprint.
        installed: The distributions that the step installed, to be missed if they go.
    """
    stamp.parent.mkdir(parents=True, exist_ok=True)
    new = stamp.with_suffix('.new')
    new.write_text(json.dumps({'key': key, 'installed': sorted(installed)}))
    os.replace(new, stamp)


def is_whole(stamp: Path, key: str, site_packages: Path) -> bool:
    """Returns whether a step is done, for this fingerprint, and nothing of it has gone since."""
    try:
        content = json.loads(stamp.read_text())
    except (OSError, ValueError):
        return False
    return content['key'] == key and distributions(site_packages).issuperset(content['installed'])


def distributions(site_packages: Path) -> set[str]:
    """Finds the distributions in a folder, as 'name==version'."""
    if not site_packages.is_dir():
        return set()
    names = [name for name in os.listdir(site_packages) if name.endswith('.dist-info')]
    return {_normal(name.removesuffix('.dist-info').replace('-', '==', 1)) for name in names}


def pins(requirements: str) -> set[str]:
    """Finds the pinned distributions in a requirements file's text, as 'name==version'."""
    return {_normal(pin) for pin in re.findall(r'^[\w.-]+==[\w.+]+', requirements, re.MULTILINE)}


def _normal(pin: str) -> str:
    name, version = pin.split('==')
    return f'{re.sub("[-_.]+", "-", name).lower()}=={version}'


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Holds a lock file; says so where another process holds it, and waits.

    Args:
        path: The lock file. It stays, empty or not: only the lock on it counts.
        what: What the other process is doing, for the message.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or 'another one'
            say(f'set-up: process {holder} {what}; waiting for it to end')
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.set_inheritable(descriptor, True)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f'{os.getpid()}\n'.encode(), 0)
        yield
    finally:
        os.close(descriptor)
