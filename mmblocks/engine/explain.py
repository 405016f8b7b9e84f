"""What an exception of a training says to the user in one line, and which are bugs instead.

**The rule.** The user can put right

1. whatever is raised before a loop begins to run: until then MMEngine only builds what the config
   says, some of it when training starts (data loaders, optimizer, schedulers, weights);
2. what a check has raised: a ``raise`` or ``assert`` in the code of mmblocks, MMEngine, mmcv or
   mmdet, in this process or in a worker of a data loader;
3. a file that cannot be read or written: an ``OSError``, or OpenCV's error at an empty image.

Everything else is a bug and keeps its traceback. The decision is read off the traceback alone, so
that nothing has to be wrapped or called in some order.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import Registry, build_from_cfg
from mmengine.runner import BaseLoop, Runner

from mmblocks.utils.errors import did_you_mean, first_line

_LIBRARIES = ('mmblocks', 'mmengine', 'mmcv', 'mmdet')
_IN_WORKER = re.compile(r'Caught (\w+) in \S+ worker process \d+\.\nOriginal Traceback')
_WORKER_FRAME = re.compile(r'^ +File "(.+?)", line \d+, in (.+)\n +(.+)$', re.MULTILINE)
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_LONGEST = 400  # characters of what others say
_SHOW_WHERE = ' (--debug shows where)'
# What others say without the words that help.
_BETTER_WORDS = {
    'SyncBatchNorm layers only': (
        "SyncBN needs GPUs; on the CPU take norm_cfg=dict(type='BN'), or one process, where "
        'MMEngine takes BN by itself'
    ),
}


@dataclass(frozen=True)
class _Origin:
    """Where an exception was raised, in this process or in a data loader's worker.

    Attributes:
        file: The file of the last frame.
        function: The function of the last frame.
        line: The line that was run there.
        kind: Name of the exception's class.
        message: What it says.
    """

    file: str
    function: str
    line: str
    kind: str
    message: str

    @property
    def is_deliberate(self) -> bool:
        """Whether a check raised it, with words for the user."""
        return self.kind == 'AssertionError' or self.line.startswith('raise')

    @property
    def is_empty_image(self) -> bool:
        """Whether mmcv gave OpenCV an image file without content."""
        return self.function == 'imfrombytes' and self.kind == 'error'

    @property
    def is_check(self) -> bool:
        """Whether it is a check of one of the libraries that read the config."""
        return self.is_deliberate and _is_of_a_library(self.file)


def explain(error: BaseException) -> str | None:
    """Says in one line what the user can put right; see this module's rule.

    Args:
        error: An exception with its traceback.

    Returns:
        The place in the config, if the exception came from building a part of it, and what is
        wrong; None for a bug.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if error.__context__ is not None and frames[-1].f_code is Runner.call_hook.__code__:
        error = error.__context__  # MMEngine says a hook's TypeError again
        frames += [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    origin = _origin(error)
    building = any(map(_is_runner, frames)) and not any(map(_is_loop, frames))
    of_a_file = isinstance(error, OSError) or origin.is_empty_image
    if not (building or origin.is_check or of_a_file or _save_best(frames)):
        return None
    place = _place(frames)
    reason = _reason(error, origin, frames)
    if len(reason) > _LONGEST:
        reason = f'{reason[:_LONGEST]} ...{_SHOW_WHERE}'
    return f'{place}: {reason}' if place else reason


def _is_of_a_library(file: str) -> bool:
    loaded = [sys.modules[name] for name in _LIBRARIES if name in sys.modules]
    folders = [Path(module.__file__).parent for module in loaded if module.__file__]
    return any(Path(file).is_relative_to(folder) for folder in folders)


def _is_runner(frame: FrameType) -> bool:
    this = frame.f_locals.get('self', frame.f_locals.get('cls'))
    return isinstance(this, Runner) or (isinstance(this, type) and issubclass(this, Runner))


def _is_loop(frame: FrameType) -> bool:
    return frame.f_code.co_name == 'run' and isinstance(frame.f_locals.get('self'), BaseLoop)


def _origin(error: BaseException) -> _Origin:
    text = str(error.args[0]) if error.args else ''
    if worker := _IN_WORKER.match(text):
        kind = worker[1]
        frames = _WORKER_FRAME.findall(text)
        said = re.findall(rf'^(?:\w+\.)*{kind}(?:: (.*))?$', text, re.MULTILINE)
        if frames and said:
            file, function, line = frames[-1]
            return _Origin(file, function, line, kind, said[-1])
    summary = traceback.extract_tb(error.__traceback__)
    # The text of a KeyError is its argument, quoted.
    bare = isinstance(error, KeyError) and error.args and ' ' in text
    message = first_line(Exception(text) if bare else error)
    if not summary:
        return _Origin('', '', '', type(error).__name__, message)
    last = summary[-1]
    return _Origin(last.filename, last.name, last.line or '', type(error).__name__, message)


def _reason(error: BaseException, origin: _Origin, frames: list[FrameType]) -> str:
    for theirs, ours in _BETTER_WORDS.items():
        if theirs in str(error):
            return ours
    if isinstance(error, KeyError) and (unregistered := _unregistered(frames[-1])):
        return unregistered
    if origin.is_empty_image:
        named = [str(name) for frame in frames if (name := frame.f_locals.get('filename'))]
        return f'an image is empty: {named[-1] if named else "num_workers=0 shows which"}'
    if frame := _save_best(frames):
        return _unknown_metric(frame)
    if origin.kind == 'AssertionError' and origin.message in ('', 'AssertionError'):
        return f'{origin.function}: {origin.line.rstrip(", (")}{_SHOW_WHERE}'
    if origin.is_deliberate or isinstance(error, OSError):
        return origin.message
    if isinstance(error, TypeError) and '() ' in origin.message:  # a call with wrong arguments
        return origin.message
    return f'{origin.kind}: {origin.message}{_SHOW_WHERE}'


def _unregistered(frame: FrameType) -> str | None:
    """Says which ``type`` no registry knows; None if the frame failed at something else."""
    # MMEngine's name of the variable, and that of mmcv's functions that build layers.
    values = frame.f_locals
    name, registry = values.get('obj_type', values.get('layer_type')), values.get('registry')
    if not isinstance(name, str) or not isinstance(registry, Registry):
        return None
    return unregistered(name, registry)


def unregistered(name: str, registry: Registry) -> str:
    """Says that a registry has no class of a name, and which are near.

    Args:
        name: The name, as a config gives it.
        registry: The registry, whose parents were searched as well.

    Example:
        >>> from mmengine.registry import HOOKS
        >>> unregistered('EMAHok', HOOKS)
        'type=EMAHok is not in the mmengine registry of hooks; did you mean EMAHook?'
    """
    here: Registry | None = registry
    known: set[str] = set()
    while here is not None:
        known |= set(here.module_dict)
        here = here.parent
    near = did_you_mean(name.rpartition('.')[2], known)
    hint = near or '; is it misspelt, or is its module missing from custom_imports?'
    return f'type={name} is not in the {registry.scope} registry of {registry.name}s{hint}'


def _save_best(frames: list[FrameType]) -> FrameType | None:
    """The frame of MMEngine's CheckpointHook that found no metric of ``save_best``'s name."""
    last = frames[-1] if frames else None
    if last is None or last.f_code.co_name != '_save_best_checkpoint':
        return None
    return last if last.f_locals.get('key_indicator') else None


def _unknown_metric(frame: FrameType) -> str:
    given, metrics = frame.f_locals['key_indicator'], frame.f_locals['metrics']
    return (
        f'save_best={given!r}: the validation gives {", ".join(metrics) or "no metric"}'
        f'{did_you_mean(given, metrics)}'
    )


def _place(frames: list[FrameType]) -> str:
    """The dotted key and the class of the innermost part that was being built, or the hook."""
    root: Any = next((cfg for frame in frames if (cfg := _config(frame)) is not None), {})
    path: list[str] = []
    here, name = root, ''
    for frame in frames:
        if frame.f_code is Runner.build_dataloader.__code__:
            here = frame.f_locals['dataloader']
            path, name = [key for key in _LOADERS if root.get(key) == here][:1], ''
        if frame.f_code is not build_from_cfg.__code__:
            continue
        part = frame.f_locals['cfg']
        # A loop builds its data loader, which stands elsewhere.
        for start, tree in (path, here), ([], root):
            if steps := _find(part, tree):
                path, here, name = [*start, *steps], part, _type_name(part)
                break
    if path:
        return f'{".".join(path)} ({name})' if name else path[0]
    hooks = [this for frame in frames if isinstance(this := frame.f_locals.get('self'), Hook)]
    return type(hooks[0]).__name__ if hooks else ''


def _config(frame: FrameType) -> Config | None:
    cfg = getattr(frame.f_locals.get('self'), 'cfg', None) if _is_runner(frame) else None
    cfg = cfg if cfg is not None else frame.f_locals.get('cfg')
    return cfg if isinstance(cfg, Config) else None


def _find(part: Any, tree: Any) -> list[str]:
    """The keys that lead to a part: to its equal or, as parts get more arguments, to its type."""
    if not isinstance(part, Mapping) or 'type' not in part:
        return []
    same = [(keys, found) for keys, found in _parts(tree) if keys and found['type'] == part['type']]
    equal = [keys for keys, found in same if found == part]
    return next(iter([*equal, *(keys for keys, _ in same)]), [])


def _parts(tree: Any) -> Iterator[tuple[list[str], Mapping[str, Any] | Config]]:
    """Every dict with a ``type``, and the keys that lead to it, outer ones first."""
    waiting: list[tuple[list[str], Any]] = [([], tree)]
    for keys, value in waiting:
        if isinstance(value, (Mapping, Config)):
            if 'type' in value:
                yield keys, value
            items: Any = value.items()
        elif isinstance(value, (list, tuple)):
            items = enumerate(value)
        else:
            continue
        waiting += [([*keys, str(key)], inner) for key, inner in items]


def _type_name(part: Mapping[str, Any]) -> str:
    kind = part['type']
    return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
