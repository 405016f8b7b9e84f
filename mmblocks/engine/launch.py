"""Starting and ending the process group of a job of several processes."""

from __future__ import annotations

import contextlib
import datetime
import gc
import inspect
import os
import subprocess
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from mmblocks.utils.class_name import class_name
from mmblocks.utils.errors import UserError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# What torch.distributed wants to know, and the variable in which each launcher says it.
_VARIABLES = {
    'pytorch': {'RANK': 'RANK', 'WORLD_SIZE': 'WORLD_SIZE', 'LOCAL_RANK': 'LOCAL_RANK'},
    'slurm': {
        'RANK': 'SLURM_PROCID',
        'WORLD_SIZE': 'SLURM_NTASKS',
        'LOCAL_RANK': 'SLURM_LOCALID',
    },
    'mpi': {
        'RANK': 'OMPI_COMM_WORLD_RANK',
        'WORLD_SIZE': 'OMPI_COMM_WORLD_SIZE',
        'LOCAL_RANK': 'OMPI_COMM_WORLD_LOCAL_RANK',
    },
}
_STARTED_BY = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}
_DEFAULT_PORT = '29500'


def start_process_group(cfg: Config) -> None:
    """Makes a config ready for ``cfg.launcher``; on the CPU, starts the process group with gloo.

    On a GPU, MMEngine starts the group itself with the backend of ``env_cfg.dist_cfg``. On the CPU
    it would ask for a GPU, and would wrap the model for one.

    Args:
        cfg: The config; ``model_wrapper_cfg`` is set in place.

    Raises:
        UserError: The launcher did not start this process, or it started processes that the
            config's ``launcher`` does not expect, or more of them than there are GPUs.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none':
        if int(os.environ.get('WORLD_SIZE', '1')) > 1 and 'LOCAL_RANK' in os.environ:
            raise UserError(
                f'torchrun started {os.environ["WORLD_SIZE"]} processes, but --launcher is none, '
                'so that each would do the whole job; give --launcher pytorch'
            )
        return
    _read_environment(launcher)
    _wrap_model(cfg)
    if get_device() == 'cuda':
        _check_gpus()
    elif get_device() == 'cpu':
        _start_gloo(cfg)


def is_first_process(cfg: Config) -> bool:
    """Whether this process is the first of its job, or the only one.

    Args:
        cfg: The config; its ``launcher`` tells which variable says so.
    """
    names = _VARIABLES.get(cfg.get('launcher', 'none'))
    return names is None or os.environ.get(names['RANK'], '0') == '0'


def end_workers(runner: Runner) -> None:
    """Ends the workers that data loaders keep for another epoch.

    Left to Python's collector, which frees runners since they refer to themselves, each data
    loader waits 5 seconds for workers that its message does not reach any more.

    Args:
        runner: A runner that has done its work.
    """
    for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
        loader = getattr(loop, 'dataloader', None)  # a loop that was not run is a config
        if isinstance(loader, DataLoader):
            loader._iterator = None
        if isinstance(loop, IterBasedTrainLoop):
            loop.dataloader_iterator._iterator = None  # type: ignore[assignment]  # not needed again


def end_process_group() -> None:
    """Ends the process group if there is one; for the end of a job that went well.

    Let go of the runner and its model before: DDP holds the group, and gloo's threads end only
    with the group's last user. One that is still letting go of a tensor while Python shuts down
    aborts the whole process.

    After an error the process just ends: with NCCL, ending the group could wait forever for
    the other processes.
    """
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()  # a runner and its hooks hold each other
        if distributed.get_rank() == 0:
            # MMEngine exchanges results through files in here and leaves the folder behind.
            with contextlib.suppress(OSError):
                Path('.dist_test').rmdir()
        distributed.destroy_process_group()


def _read_environment(launcher: str) -> None:
    """Sets the variables that torch and MMEngine read from those of the launcher."""
    for name, source in _VARIABLES[launcher].items():
        if source not in os.environ:
            start = _STARTED_BY[launcher]
            raise UserError(
                f'--launcher {launcher} needs {start}, which sets {source}; start with {start}, '
                'or leave --launcher out'
            )
        os.environ[name] = os.environ[source]
    for library in ('OMP', 'MKL'):  # MMEngine sets them too, with a warning
        os.environ.setdefault(f'{library}_NUM_THREADS', '1')
    os.environ.setdefault('MASTER_PORT', _DEFAULT_PORT)
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_node(launcher)


def _first_node(launcher: str) -> str:
    """The host of rank 0, where the launcher's own variables do not name it."""
    if launcher == 'slurm':
        nodes = ['scontrol', 'show', 'hostnames', os.environ.get('SLURM_NODELIST', '')]
        with contextlib.suppress(OSError, subprocess.CalledProcessError, IndexError):
            said = subprocess.run(nodes, capture_output=True, text=True, check=True).stdout
            return said.split()[0]
    elif os.environ['WORLD_SIZE'] == os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE'):
        return '127.0.0.1'
    raise UserError(f'--launcher {launcher} needs MASTER_ADDR here: the host of the first process')


def _check_gpus() -> None:
    local_rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    if local_rank >= gpus:
        raise UserError(
            f'process {local_rank + 1} of this machine has no GPU of its own, there are {gpus}; '
            'start fewer processes'
        )


def _start_gloo(cfg: Config) -> None:
    seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
    timeout = None if seconds is None else datetime.timedelta(seconds=seconds)
    if not distributed.is_initialized():
        distributed.init_process_group('gloo', timeout=timeout)


def _wrap_model(cfg: Config) -> None:
    """Sets how MMEngine wraps the model for DDP: as by default, but for this device and torch."""
    wrapper = cfg.get('model_wrapper_cfg')
    if wrapper is None:
        # torch 2.13 gave MMEngine's broadcast_buffers another name and warns of the old one.
        arguments = inspect.signature(DistributedDataParallel).parameters
        names = ('forward_sync_buffers', 'broadcast_buffers')
        wrapper = {
            'type': 'MMDistributedDataParallel',
            next(name for name in names if name in arguments): False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
        }
    is_ddp = class_name(wrapper, 'DDP').endswith(('DDP', 'DistributedDataParallel'))
    if get_device() == 'cpu' and is_ddp:
        wrapper.setdefault('device_ids', None)
    cfg.model_wrapper_cfg = wrapper
