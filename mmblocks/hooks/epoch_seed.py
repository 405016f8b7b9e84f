"""Random numbers that do not depend on where a training was interrupted."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import DataLoader


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Draws the random numbers of an epoch from the seed and the epoch's number alone.

    So a training that was interrupted and resumed after an epoch gives what it would have given
    without: augmentation, dropout and random samplers go on as they would have. MMEngine starts
    them anew. In an iteration-based training, which skips the data that it has seen, that holds for
    any iteration. Workers of the dataloader start anew in each epoch, ``persistent_workers``
    or not; those with a ``worker_init_fn`` of their own are left alone. What a transform keeps from
    image to image, such as the cache of ``CachedMosaic``, is not restored. ``tools/train.py`` adds
    the hook by itself, and resuming takes up the seed of the checkpoint.

    Example:
        >>> custom_hooks = [dict(type='mmblocks.EpochSeedHook')]
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._by_iter = False
        self._state: tuple[Any, ...] | None = None

    def before_train_epoch(self, runner: Runner) -> None:
        """Seeds this process and the workers of the epoch."""
        seed = epoch_seed(runner.seed, runner.epoch)
        set_random_seed(seed)
        self._by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)
        if not self._by_iter:
            _seed_workers(runner.train_loop.dataloader, seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seeds the iteration of an iteration-based training."""
        if self._by_iter:
            self._set_aside(runner)
            set_random_seed(epoch_seed(runner.seed, runner.iter))

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Goes on with the random numbers of the data."""
        self._take_up()

    def before_val(self, runner: Runner) -> None:
        """Keeps validation from the random numbers of the data."""
        if self._by_iter:
            self._set_aside(runner)

    def after_val(self, runner: Runner) -> None:
        """Goes on with the random numbers of the data."""
        self._take_up()

    def _set_aside(self, runner: Runner) -> None:
        """Sets aside the generators that draw for the data, where this process loads them.

        Resuming loads the batches that it skips one after the other, without the iterations
        between them.
        """
        if runner.train_loop.dataloader.num_workers == 0:
            self._state = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def _take_up(self) -> None:
        if self._state is not None:
            of_python, of_numpy, of_torch = self._state
            random.setstate(of_python)
            np.random.set_state(of_numpy)
            torch.set_rng_state(of_torch)
            self._state = None


def epoch_seed(seed: int, number: int) -> int:
    """Makes a seed of a training's seed and the number of an epoch or iteration.

    Args:
        seed: The seed of the training.
        number: The number of the epoch or iteration, from 0.

    Returns:
        A seed below 2**31: numpy takes 32 bits, and MMEngine adds the number of the worker.

    Example:
        >>> epoch_seed(0, 1) == epoch_seed(1, 0)
        False
    """
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _seed_workers(loader: DataLoader[Any], seed: int) -> None:
    """Makes the workers that the next iteration over a dataloader uses start with a seed."""
    init = loader.worker_init_fn
    if isinstance(init, partial) and init.func is worker_init_fn:
        loader.worker_init_fn = partial(init.func, **{**init.keywords, 'seed': seed})
        # Persistent workers cannot be told the new seed; without an iterator torch starts others.
        loader._iterator = None
