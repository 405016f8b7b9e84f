"""A training step and a prediction of one model, each with what went wrong."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import nn

from benchmarks.zoo.configs import ROOT
from benchmarks.zoo.inputs import test_inputs, training_inputs
from mmblocks.utils.types import ConfigType

# Trackers that have no loss: mmdet trains their detector alone.
_WITHOUT_LOSS = ('DeepSORT', 'StrongSORT')


class Outcome(NamedTuple):
    """What became of a model; an empty string is a success.

    Attributes:
        build: What went wrong while it was built.
        train: The same of the training step.
        predict: The same of the prediction.
    """

    build: str = ''
    train: str = ''
    predict: str = ''


def try_model(model: ConfigType) -> Outcome:
    """Builds a model, trains it for a step and asks it for a prediction.

    Args:
        model: Its config, cut small.
    """
    model = ConfigDict(model)
    torch.manual_seed(0)
    # The Runner counts here, and some heads read it.
    MessageHub.get_current_instance().update_info_dict(dict(iter=0, epoch=0, max_epochs=1))
    built, error = _attempt(lambda: build(model))
    if built is None:
        return Outcome(build=error)
    return Outcome(
        train=_attempt(lambda: train(built, model))[1],
        predict=_attempt(lambda: predict(built, model))[1],
    )


def build(model: ConfigType) -> nn.Module:
    """Builds a model and initialises it; its SyncBN, which needs GPUs, becomes BN.

    Args:
        model: Its config.
    """
    with DefaultScope.overwrite_default_scope('mmdet'):
        built = MODELS.build(model)
        built.init_weights()
    return revert_sync_batchnorm(built)


def train(built: nn.Module, model: ConfigType) -> None:
    """Runs a training step; the loss must be finite and the weights must change.

    Args:
        built: The model.
        model: Its config.
    """
    if model['type'] in _WITHOUT_LOSS:
        built, model = built.detector, model['detector']
        built.data_preprocessor = DetDataPreprocessor(pad_size_divisor=32)
    built.train()
    before = _some_weights(built)
    optimizer = torch.optim.SGD([p for p in built.parameters() if p.requires_grad], lr=1e-5)
    logged = built.train_step(training_inputs(model), OptimWrapper(optimizer))
    if not logged['loss'].isfinite():
        raise ArithmeticError(f'the loss is {logged["loss"]:g}')
    if torch.equal(before, _some_weights(built)):
        raise ArithmeticError('no weight has changed')


def predict(built: nn.Module, model: ConfigType) -> None:
    """Asks for a prediction; there must be one for every image or video.

    Args:
        built: The model.
        model: Its config.
    """
    built.eval()
    data = test_inputs(model)
    with torch.no_grad():
        results = built.test_step(data)
    if len(results) != len(data['inputs']):
        raise ArithmeticError(f'{len(results)} predictions for {len(data["inputs"])} inputs')


def _some_weights(built: nn.Module) -> torch.Tensor:
    weights = [p.detach().flatten()[:9] for p in built.parameters() if p.requires_grad]
    return torch.cat(weights)


def _attempt(action: Callable[[], Any]) -> tuple[Any, str]:
    """Returns the result, or what was raised and where."""
    try:
        return action(), ''
    except Exception as error:  # whatever a model raises is what is looked for
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = '/'.join(frame.filename.split('/')[-3:])
        return None, f'{describe(error)} ({place}:{frame.lineno})'


def describe(error: Exception) -> str:
    """Returns an error in one line, without the path of the environment.

    Args:
        error: The error.
    """
    message = ' '.join(str(error).replace(f'{ROOT}/', '').split())[:300]
    return f'{type(error).__name__}: {message}'
