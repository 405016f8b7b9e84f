"""``timm://NAME``: the weights of a timm model, taken through timm's own hub code."""

from __future__ import annotations

import pickle
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from mmblocks.utils.errors import UserError, did_you_mean, first_line

_PREFIX = 'timm://'


def load_from_timm(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Downloads the weights of a timm model, or takes them from its cache, offline too.

    Args:
        filename: Such as ``'timm://mobilenetv3_large_100'``, with or without a tag behind a dot;
            or a model of the hub, ``'timm://hf-hub:owner/model'``.
        map_location: Device of the tensors; default: the CPU.

    Returns:
        The state dict, with the names that timm's model has.

    Raises:
        UserError: timm is not installed, does not know the model or cannot get its weights.
    """
    name = filename.removeprefix(_PREFIX)
    try:
        import timm
    except ImportError as error:
        raise UserError(
            f'{filename} needs timm, and with it a torchvision that fits torch ({error}): '
            'pip install timm'
        ) from error
    architecture = name.partition('.')[0]
    if ':' not in name:
        if not timm.is_model(architecture):
            near = did_you_mean(architecture, timm.list_models())
            raise UserError(f'{filename}: timm {timm.__version__} knows no {architecture}{near}')
        tags = timm.list_pretrained(f'{architecture}.*')
        if name not in (architecture, *tags) or not timm.is_model_pretrained(architecture):
            offered = f'; it has {", ".join(tags)}' if tags else ''
            raise UserError(f'{filename}: timm {timm.__version__} has no such weights{offered}')
    try:
        state_dict = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # timm, the hub's client and the network all have their own
        if isinstance(error.__cause__ or error, pickle.UnpicklingError):
            # What is said elsewhere of a file with code in it is said of this one too.
            raise (error.__cause__ or error) from None
        raise UserError(f'{filename}: timm cannot get the weights: {first_line(error)}') from error
    return {key: value.to(map_location or 'cpu') for key, value in state_dict.items()}


CheckpointLoader.register_scheme(_PREFIX, load_from_timm, force=True)
