"""Finding a layer class by the name that a config gives it."""

from __future__ import annotations

import difflib
import inspect
from importlib import import_module

from mmengine.registry import MODELS
from torch import nn


def find_layer(layer_type: str | type[nn.Module], argument: str) -> type[nn.Module]:
    """Returns the class that a config's ``type`` names, in the scope that is active.

    Of a convolution that wants more than a map, such as offsets, it is the form that makes the
    rest itself.

    Layers with compiled ops are registered when ``mmcv.ops`` is imported; that happens here, for
    the configs that name one, and not when mmblocks is imported.

    Args:
        layer_type: A registered name, with or without a scope prefix, or the class itself.
        argument: The argument that holds it, for the error message.

    Returns:
        The layer's class.

    Raises:
        ValueError: No registry within reach knows the name.

    Example:
        >>> find_layer('Conv2d', argument='conv_cfg').__name__
        'Conv2d'
    """
    if not isinstance(layer_type, str):
        return _for_one_map(layer_type)
    found = _look_up(layer_type)
    if found is None:
        try:
            import_module('mmcv.ops')
        except ImportError as error:
            why = f" (mmcv's compiled ops are not there: {error})"
        else:
            why = ''
            found = _look_up(layer_type)
    if found is None:
        raise ValueError(
            f'{argument}: no layer {layer_type!r} is registered{why}; {_hint(layer_type)}'
        )
    return _for_one_map(found)


def _for_one_map(layer: type[nn.Module]) -> type[nn.Module]:
    return layer.as_conv() if hasattr(layer, 'as_conv') else layer


def _hint(layer_type: str) -> str:
    own = [
        name
        for name, layer in MODELS.module_dict.items()
        if layer.__module__.startswith('mmblocks.layers.')
    ]
    near = difflib.get_close_matches(
        layer_type.rpartition('.')[2], MODELS.module_dict, n=3, cutoff=0.7
    )
    if not near:
        return f"mmblocks' own are {', '.join(f'mmblocks.{name}' for name in own)}"
    return f'did you mean {" or ".join(f"mmblocks.{n}" if n in own else n for n in near)}?'


def accepted_arguments(layer: type) -> set[str]:
    """Returns the names of the arguments that a class takes, those that it hands on included.

    Args:
        layer: The class.

    Example:
        >>> sorted(accepted_arguments(nn.Identity))
        []
        >>> 'in_channels' in accepted_arguments(nn.Conv2d)
        True
    """
    names: set[str] = set()
    for cls in layer.__mro__[:-1]:
        if '__init__' not in vars(cls):
            continue
        parameters = list(inspect.signature(vars(cls)['__init__']).parameters.values())[1:]
        kinds = {parameter.kind for parameter in parameters}
        names |= {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return names


def _look_up(name: str) -> type[nn.Module] | None:
    with MODELS.switch_scope_and_registry(None) as registry:
        return registry.get(name)
