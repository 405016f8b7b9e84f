"""mmcv with its compiled ops: built once for each torch, kept in the user's cache, tried out."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from checks import gpu_facts
from console import CommandFailed, SetupError, say
from environment import REQUIREMENTS, Environment, pinned
from stamps import locked

PROBE = """
import json, torch
from torch.utils.cpp_extension import CUDA_HOME
gpu = torch.cuda.is_available()
print(json.dumps(dict(
    torch=torch.__version__,
    gpu=gpu,
    cuda=torch.version.cuda,
    capability='sm{}{}'.format(*torch.cuda.get_device_capability()) if gpu else None,
    cuda_home=CUDA_HOME,
)))
"""
TRIAL = """
import sys, torch, mmcv.ops
device = sys.argv[1]
boxes = torch.tensor([[0., 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]], device=device)
scores = torch.tensor([0.9, 0.8, 0.7], device=device)
kept = mmcv.ops.nms(boxes, scores, 0.5)[1].tolist()
assert kept == [0, 2], f'nms kept the boxes {kept}, not 0 and 2'
"""
CPU_MINUTES = 18  # of one core, to compile the CPU's ops
CUDA_MINUTES = 90  # likewise for the GPU's, a rough guess
BYTES_PER_JOB = 2e9  # memory that one compiler may take


class OpsBroken(SetupError):
    """A wheel of mmcv is there, and its ops do not work."""


@dataclass(frozen=True)
class Target:
    """What the ops are built for.

    Attributes:
        torch: torch's version with its local part, such as '2.13.0+cpu'.
        device: 'cpu' or 'cuda'.
        variant: Part of the cache's key: 'cpu', or CUDA's version and the GPU's architecture.
    """

    torch: str
    device: str
    variant: str

    @property
    def wheel_folder(self) -> Path:
        """Folder of the user's cache that holds the wheel."""
        return wheel_cache() / '-'.join([wheel_prefix(self.torch), platform_tag(), self.variant])


def wheel_cache() -> Path:
    """The user's cache of built wheels."""
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(cache, 'mmblocks', 'wheels')


def wheel_prefix(torch: str) -> str:
    """First part of the cache's key."""
    return f'mmcv-{pinned("mmcv.txt", "mmcv")}-torch-{torch}'


def platform_tag() -> str:
    """Second part of the cache's key: the Python and the platform."""
    return f'cp{sys.version_info[0]}{sys.version_info[1]}-{sysconfig.get_platform()}'


def wheel_may_be_cached() -> bool:
    """Tells, before torch is there, whether a built wheel may serve, so that no compiler is needed.

    Only torch knows its local version and the GPU, hence 'may'.
    """
    prefix = wheel_prefix(pinned('runtime.txt', 'torch'))
    suffix = f'{platform_tag()}-{"*" if gpu_facts() else "cpu"}'
    return any(wheel_cache().glob(f'{prefix}*-{suffix}/*.whl'))


def install_ops(environment: Environment) -> None:
    """Installs mmcv with ops, building the wheel where the cache has none, and tries an op.

    Raises:
        SetupError: It cannot be built, or does not work.
    """
    target = choose_target(environment)
    try:
        _install(environment, target)
    except SetupError as error:
        if target.device == 'cpu':
            raise
        say(f'set-up: {error.problem}\n{error.remedy}')
        say(
            "set-up: mmcv's ops for the GPU failed; the CPU's are built and the demo runs on the "
            f'CPU.\n  To try the GPU again: rm {environment.state / "mmcv.json"}'
        )
        target = Target(target.torch, 'cpu', 'cpu')
        _install(environment, target)
    try:
        environment.run([environment.python, '-c', 'import mmdet.apis'])
    except CommandFailed as error:
        raise SetupError(
            f'mmdet is installed and cannot be imported:\n{error.tail()}',
            f'The whole output is in {environment.log}.',
        ) from error
    environment.device_file.write_text(f'{target.device}\n')


def choose_target(environment: Environment) -> Target:
    """Asks the installed torch what it sees and decides."""
    output = subprocess.run(
        [environment.python, '-c', PROBE], capture_output=True, text=True, env=environment.env
    )
    if output.returncode:
        raise SetupError(
            f'torch is installed and cannot be imported:\n{output.stderr.rstrip()}',
            'Remove .venv, then run the same command again.',
        )
    facts = json.loads(output.stdout.splitlines()[-1])
    target, reason = decide(facts, _nvcc_version(facts['cuda_home']), bool(gpu_facts()))
    if reason:
        say(f'set-up: there is a GPU, {reason}')
    return target


def decide(facts: dict, nvcc: str | None, driver: bool) -> tuple[Target, str]:
    """Decides between the ops of the CPU and of the GPU.

    Args:
        facts: What torch says, as ``PROBE`` prints it.
        nvcc: Version of the nvcc that torch would build with, None where there is none.
        driver: Whether the machine has an NVIDIA driver.

    Returns:
        The target, and on a machine with a GPU the reason, for the user.
    """
    cpu = Target(facts['torch'], 'cpu', 'cpu')
    cuda = facts['cuda']
    if not facts['gpu'] or cuda is None:
        cause = 'is built without CUDA' if cuda is None else 'finds none that it can use'
        return cpu, f'but torch {facts["torch"]} {cause}: the CPU is used' if driver else ''
    if nvcc is None or nvcc.split('.')[0] != cuda.split('.')[0]:
        missing = f'but nvcc is version {nvcc}' if nvcc else 'but no nvcc'
        return cpu, (
            f"{missing}: to compile mmcv's ops for the GPU, install the CUDA toolkit {cuda}\n"
            '  (set CUDA_HOME where it is not in /usr/local/cuda) and run the same command again.\n'
            '  Until then the ops are built for the CPU, and the demo runs on the CPU.'
        )
    target = Target(facts['torch'], 'cuda', f'cuda{cuda}-{facts["capability"]}')
    return target, f"and nvcc {nvcc}: mmcv's ops are built for it (FORCE_CUDA=1)"


def _nvcc_version(cuda_home: str | None) -> str | None:
    nvcc = Path(cuda_home or '', 'bin', 'nvcc')
    if cuda_home is None or not nvcc.exists():
        return None
    output = subprocess.run([nvcc, '--version'], capture_output=True, text=True).stdout
    match = re.search(r'release (\d+\.\d+)', output)
    return match.group(1) if match else None


def _install(environment: Environment, target: Target) -> None:
    folder = target.wheel_folder
    with locked(folder.with_name(f'{folder.name}.lock'), 'is building the same mmcv'):
        cached = [wheel for wheel in folder.glob('*.whl') if zipfile.is_zipfile(wheel)]
        if cached:
            say(f'    taking the one built before, {cached[0]}')
            try:
                _install_and_try(environment, target, cached[0])
                return
            except OpsBroken:
                say('    it does not work; building it anew')
        _install_and_try(environment, target, _build(environment, target))


def _build(environment: Environment, target: Target) -> Path:
    """Builds the wheel beside its place in the cache and renames it when it is whole."""
    jobs = _jobs()
    core_minutes = CPU_MINUTES if target.device == 'cpu' else CUDA_MINUTES
    about = max(2, round(core_minutes / min(jobs, _cores())))
    say(f'    compiling for torch {target.torch} ({target.variant}): about {about} min, once')
    env = {
        **environment.env,
        'MMCV_WITH_OPS': '1',
        'FORCE_CUDA': '1' if target.device == 'cuda' else '0',
        'MAX_JOBS': str(jobs),
    }
    if target.device == 'cpu':
        env['CUDA_VISIBLE_DEVICES'] = ''  # mmcv's setup.py builds for any GPU that torch sees
    folder = target.wheel_folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.building-', dir=folder.parent) as temporary:
        environment.pip(
            'build mmcv with its ops',
            'wheel', '-v', '--no-deps', '--no-build-isolation', '--no-cache-dir',
            '--wheel-dir', Path(temporary, folder.name), '-r', REQUIREMENTS / 'mmcv.txt',
            env=env,
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(Path(temporary, folder.name), folder)
    return next(folder.glob('*.whl'))


def _install_and_try(environment: Environment, target: Target, wheel: Path) -> None:
    environment.pip(
        'install mmcv', 'install', '--no-deps', '--no-index', '--force-reinstall', wheel
    )
    try:
        environment.run([environment.python, '-c', TRIAL, target.device])
    except CommandFailed as error:
        shutil.rmtree(wheel.parent)
        raise OpsBroken(
            f"mmcv's ops were built and do not work:\n{error.tail()}",
            f'The whole output is in {environment.log}. The build is thrown away; run the same '
            'command again to redo it.',
        ) from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _jobs() -> int:
    """How many compilers run at once: one a core, as far as the memory goes."""
    if 'MAX_JOBS' in os.environ:
        return int(os.environ['MAX_JOBS'])
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return max(1, min(_cores(), int(memory / BYTES_PER_JOB)))
