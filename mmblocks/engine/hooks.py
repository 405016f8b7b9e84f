"""The hooks that a training gets besides those of its config."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmblocks.hooks import (
    CheckPreprocessingHook,
    EpochSeedHook,
    SafeCheckpointHook,
    StopOnDivergenceHook,
)
from mmblocks.utils.class_name import class_name

_ADDED = (EpochSeedHook, CheckPreprocessingHook, StopOnDivergenceHook)
_SAFE = f'mmblocks.{SafeCheckpointHook.__name__}'


def save_safely(cfg: Config) -> None:
    """Puts `SafeCheckpointHook` where a config has MMEngine's ``CheckpointHook``, in place.

    Args:
        cfg: The config. A checkpoint hook of another class stays.
    """
    # MMEngine adds it with these arguments where a config leaves it out; None is without any.
    default = {'type': CheckpointHook.__name__, 'interval': 1}
    cfg.default_hooks = {'checkpoint': default, **(cfg.get('default_hooks') or {})}
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        if _is_mmengines(hook):
            hook['type'] = _SAFE


def _is_mmengines(hook: Any) -> bool:
    name = CheckpointHook.__name__
    kind = hook.get('type') if isinstance(hook, dict) else None
    return kind in (name, f'mmengine.{name}', CheckpointHook)


def leave_out(cfg: Config, kind: type[Hook]) -> None:
    """Takes the hooks of a class out of ``custom_hooks`` of a config, in place.

    Args:
        cfg: The config.
        kind: The class.
    """
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or []
        if not (isinstance(hook, dict) and class_name(hook) == kind.__name__)
    ]


def add_hooks(runner: Runner, keep_going: bool = False) -> None:
    """Registers the hooks that every training gets, except those that its config has.

    Args:
        runner: The runner of a training.
        keep_going: Whether not to add `StopOnDivergenceHook`.
    """
    for kind in _ADDED:
        is_there = any(isinstance(hook, kind) for hook in runner.hooks)
        if not is_there and not (kind is StopOnDivergenceHook and keep_going):
            runner.register_hook(kind())
