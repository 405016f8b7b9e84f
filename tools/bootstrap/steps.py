"""The steps of the set-up, each done once and redone when what it depends on changes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from checks import check_compiler, check_space, check_venv_module, gpu_facts
from console import CommandFailed, SetupError, duration, say
from environment import REQUIREMENTS, ROOT, Environment, pinned
from ops import install_ops, wheel_may_be_cached
from stamps import distributions, fingerprint, is_whole, locked, pins, write_stamp


@dataclass(frozen=True)
class Step:
    """One step of the set-up.

    Attributes:
        what: What it does, for the line that announces it.
        about: About how long that takes.
        run: Does it.
        files: Files of the checkout that it depends on.
        facts: Gives what else it depends on.
    """

    what: str
    about: str
    run: Callable[[Environment], None]
    files: Sequence[str] = ()
    facts: Callable[[Environment], Sequence[str]] = lambda environment: ()


def make_venv(environment: Environment) -> None:
    """Makes ``.venv`` anew. One that is not this set-up's is moved aside, never removed."""
    folder = environment.folder
    if environment.state.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    elif os.path.lexists(folder):
        aside = next(
            path
            for path in (folder.with_name(f'.venv.old{n or ""}') for n in range(1000))
            if not os.path.lexists(path)
        )
        os.rename(folder, aside)
        say(f'    .venv was there and not made by this set-up; it is now {aside.name}')
    environment.state.mkdir(parents=True)
    (environment.state / 'python').write_text(f'{environment.base_python}\n')
    try:
        environment.run([environment.base_python, '-m', 'venv', folder])
    except CommandFailed as error:
        raise SetupError(
            f'python -m venv failed:\n{error.tail()}',
            'Mend what it names, or name another Python: make PYTHON=/path/to/python3.11 ...',
        ) from error


def install_torch(environment: Environment) -> None:
    """Installs torch with what its build needs, CUDA's parts or none, within runtime.txt's pins."""
    torch = f'torch=={pinned("runtime.txt", "torch")}'
    limits = []
    for name in ('build.txt', 'runtime.txt'):
        limits += ['--constraint', REQUIREMENTS / name]
    environment.pip(f'install {torch}', 'install', torch, *limits)


def install_file(name: str) -> Callable[[Environment], None]:
    """Installs a requirements file as it is, since it lists everything."""

    def run(environment: Environment) -> None:
        environment.pip(f'install {name}', 'install', '--no-deps', '-r', REQUIREMENTS / name)

    return run


def install_ruff(environment: Environment) -> None:
    """Installs ruff alone, so that linting does not wait for all the rest."""
    ruff = f'ruff=={pinned("tests.txt", "ruff")}'
    environment.pip('install ruff', 'install', '--no-deps', ruff)


def install_checkout(environment: Environment) -> None:
    """Installs the checkout itself, editable."""
    environment.pip(
        'install this checkout', 'install', '--no-deps', '--no-build-isolation', '-e', ROOT
    )


def install_peers(environment: Environment) -> None:
    """Installs the peers into a folder of their own, renamed when it is whole."""
    new = environment.peers.with_name('.peers.new')
    shutil.rmtree(new, ignore_errors=True)
    environment.pip(
        'install the peers',
        'install', '--no-deps', '--target', new, '-r', REQUIREMENTS / 'peers.txt',
    )  # fmt: skip
    shutil.rmtree(environment.peers, ignore_errors=True)
    os.rename(new, environment.peers)


STEPS = {
    'venv': Step(
        'make the environment .venv',
        '10 s',
        make_venv,
        facts=lambda environment: [environment.base_python, str(ROOT)],
    ),
    'lint': Step('install ruff', '5 s', install_ruff, ['requirements/tests.txt']),
    'build': Step(
        'install the build tools', '15 s', install_file('build.txt'), ['requirements/build.txt']
    ),
    'torch': Step(
        'install torch',
        '1 min for the build without CUDA (200 MB), 5 min for the one with it (3 GB)',
        install_torch,
        ['requirements/runtime.txt'],
    ),
    'runtime': Step(
        'install mmengine, mmdet and the libraries they need',
        '1 min',
        install_file('runtime.txt'),
        ['requirements/runtime.txt'],
    ),
    'mmcv': Step(
        'install mmcv with compiled ops',
        '20 s where they were compiled before, else 10 min',
        install_ops,
        ['requirements/mmcv.txt'],
        facts=lambda environment: [environment.torch_version(), gpu_facts()],
    ),
    'package': Step(
        'install this checkout',
        '5 s',
        install_checkout,
        ['setup.py', 'pyproject.toml', 'mmblocks/version.py'],
    ),
    'demo': Step(
        'install what the demo needs', '10 s', install_file('demo.txt'), ['requirements/demo.txt']
    ),
    'tests': Step(
        'install what the tests need', '10 s', install_file('tests.txt'), ['requirements/tests.txt']
    ),
    'peers': Step(
        'install the peers for the parity tests into .peers',
        '20 s',
        install_peers,
        ['requirements/peers.txt'],
    ),
}
DEMO = ['venv', 'build', 'torch', 'runtime', 'mmcv', 'package', 'demo']
GOALS = {'lint': ['venv', 'lint'], 'demo': DEMO, 'test': [*DEMO, 'tests', 'peers']}


def texts(name: str) -> list[str]:
    """The contents of the files that the step depends on."""
    return [(ROOT / file).read_text() for file in STEPS[name].files]


def key_of(name: str, environment: Environment) -> str:
    """The step's fingerprint."""
    python = f'{sys.version_info[0]}.{sys.version_info[1]}'
    return fingerprint([name, python, *texts(name), *STEPS[name].facts(environment)])


def places(name: str, environment: Environment) -> tuple[Path, Path]:
    """The step's stamp, and the folder that it installs into."""
    if name == 'peers':
        return environment.peers / 'mmblocks.json', environment.peers
    return environment.state / f'{name}.json', environment.site_packages


def is_pending(name: str, environment: Environment) -> bool:
    """Returns whether the step has to be done."""
    if name == 'venv' and not os.access(environment.python, os.X_OK):
        return True
    stamp, site_packages = places(name, environment)
    return not is_whole(stamp, key_of(name, environment), site_packages)


def do(name: str, environment: Environment) -> None:
    """Does a step; its stamp is there only while the step is whole."""
    step = STEPS[name]
    say(f'set-up: {step.what} (about {step.about})')
    stamp, site_packages = places(name, environment)
    stamp.unlink(missing_ok=True)
    step.run(environment)
    # Of the pins, some are for other Pythons: only what came counts.
    installed = pins('\n'.join(texts(name))) & distributions(site_packages)
    write_stamp(stamp, key_of(name, environment), installed)


def check(pending: Sequence[str]) -> None:
    """Checks what the pending steps need, before any of them begins."""
    if 'venv' in pending:
        check_venv_module()
    if 'mmcv' in pending and not wheel_may_be_cached():
        check_compiler()
    if 'torch' in pending:
        check_space(ROOT)


def set_up(goal: str) -> None:
    """Does the goal's pending steps."""
    environment = Environment()
    names = GOALS[goal]
    pending = [name for name in names if is_pending(name, environment)]
    if not pending:
        return
    # A new environment takes all with it, and a new torch mmcv.
    check(names if {'venv', 'torch'} & set(pending) else pending)
    environment.log.unlink(missing_ok=True)
    begin = time.monotonic()
    for name in names:
        if is_pending(name, environment):  # asked again, since a step before it may have undone it
            do(name, environment)
    say(f'set-up: done in {duration(time.monotonic() - begin)}')


def stop(signum: int, frame: object) -> None:
    """Ends in good order, with what was started."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Runs the set-up.

    Args:
        arguments: The goal: lint, demo or test.

    Returns:
        The exit status.
    """
    if len(arguments) != 1 or arguments[0] not in GOALS:
        say(f'usage: python tools/bootstrap {{{",".join(GOALS)}}}')
        return 2
    for signum in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(signum) != signal.SIG_IGN:  # as nohup has it
            signal.signal(signum, stop)
    try:
        with locked(ROOT / '.setup.lock', 'is setting up this checkout'):
            set_up(arguments[0])
    except SetupError as error:
        remedy = error.remedy.replace('\n', '\n  ')
        sys.stdout.flush()
        sys.stderr.write(f'\nset-up: {error.problem}\n  {remedy}\n')
        return 1
    except OSError as error:
        sys.stderr.write(f'\nset-up: {error}\n')
        return 1
    except KeyboardInterrupt:
        sys.stderr.write('\nset-up: interrupted; the same command takes it up again here\n')
        return 130
    return 0
