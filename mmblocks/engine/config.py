"""Reading a config: finding it, saying what is wrong with it, merging ``--cfg-options``."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmblocks.utils.errors import UserError, did_you_mean, first_line, warn

_SUFFIXES = ('.py', '.json', '.yaml', '.yml')
# What Runner takes or looks up in the config by itself: new there, but no slip of the pen.
_RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    *('activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval'),
    *('find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn'),
    *('tta_model', 'tta_pipeline'),
}
# What MMEngine reads while merging and building.
_MERGE_KEYS = {'_delete_', '_scope_', 'type'}
# The hooks that Runner registers whether or not default_hooks lists them.
_DEFAULT_HOOKS = {
    *('checkpoint', 'logger', 'param_scheduler', 'runtime_info', 'sampler_seed', 'timer'),
}


def load_config(name: str, options: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and merges options into it.

    Args:
        name: Path of a config, or ``'package::path'`` for one that an OpenMMLab package brings,
            such as ``'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'``.
        options: Dotted keys and their new values, as ``--cfg-options`` gives them.

    Returns:
        The config. Its ``filename`` is the file that was read.

    Raises:
        UserError: There is no such file, it cannot be run, or an option does not fit.

    Example:
        >>> cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
        >>> cfg.model.type
        'RetinaNet'
    """
    path = find_config(name)
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a config is a program: whatever it raises is for its author
        raise UserError(_explain(error, path)) from error
    if 'model' not in cfg:
        raise UserError(f'{path} has no "model": it is a part that other configs build on')
    if options:
        merge_options(cfg, options)
    return cfg


def find_config(name: str) -> Path:
    """Turns the name of a config into the path of its file.

    Args:
        name: As for `load_config`.

    Returns:
        The path; the file exists.

    Raises:
        UserError: There is no such file. Names those that are near.
    """
    path = _package_path(name) if '::' in name else Path(name).expanduser()
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix in _SUFFIXES)
        raise UserError(f'{path} is a folder; configs in it: {", ".join(inside) or "none"}')
    if not path.exists():
        raise UserError(f'config not found: {name}{_near(path)}')
    if path.suffix not in _SUFFIXES:
        raise UserError(f'{path} is no config: accepted are files in {", ".join(_SUFFIXES)}')
    return path


def _package_path(name: str) -> Path:
    """The file that ``package::path`` stands for: ``package/.mim/configs/path``."""
    package, _, inner = name.partition('::')
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f'config not found: {name}; there is no installed package "{package}"')
    return Path(spec.submodule_search_locations[0], '.mim', 'configs', inner)


def _near(path: Path) -> str:
    """Names configs nearest to one that is not there: beside it, else anywhere below."""
    folder = path.parent
    if not folder.is_dir():
        return _near_anywhere(path)
    known = {p.name: p for p in folder.iterdir() if p.suffix in _SUFFIXES}
    return did_you_mean(path.name, known) or _near_anywhere(path)


def _near_anywhere(path: Path) -> str:
    """Names configs with a near name in ``configs/`` or in the part of the path that exists."""
    existing = next((p for p in path.parents if p.is_dir() and p != Path('.')), None)
    root = existing if existing is not None and existing.name == 'configs' else Path('configs')
    known = {str(p): p.name for p in root.rglob('*') if p.suffix in _SUFFIXES}
    same = [p for p, file in known.items() if file == path.name]
    return f'; did you mean {same[0]}?' if same else did_you_mean(str(path), known)


def _explain(error: Exception, path: Path) -> str:
    """The file and line where a config, or one that it builds on, went wrong, and how."""
    frames = list(traceback.walk_tb(error.__traceback__))
    # MMEngine's functions that read a config call its path "filename"; the last one is at fault.
    files = [str(f.f_locals['filename']) for f, _ in frames if 'filename' in f.f_locals]
    files = [str(path), *(f for f in files if Path(f).suffix in _SUFFIXES)]
    at_fault = files[-1]
    if not Path(at_fault).exists():
        by = next(f for f in reversed(files) if f != at_fault)
        return f'{_short(by)}: its base {_short(at_fault)} does not exist'
    lines = [line for f, line in frames if f.f_code.co_filename == at_fault]
    if isinstance(error, SyntaxError) and error.lineno is not None:
        lines = [error.lineno]
    line = f', line {lines[-1]}' if lines else ''
    return f'{_short(at_fault)}{line}: {_reason(error)}'


def _short(file: str) -> str:
    """A path as seen from here, if it is below."""
    inside = os.path.relpath(file)
    return file if inside.startswith('..') else inside


def _reason(error: Exception) -> str:
    """What went wrong in a config, in one line."""
    if isinstance(error, SyntaxError):
        return f'syntax error: {error.msg}'
    if isinstance(error, ImportError):
        cause: BaseException = error
        while deeper := cause.__cause__ or cause.__context__:
            cause = deeper
        return f'custom_imports: {first_line(cause)}'
    return f'{type(error).__name__}: {first_line(error)}'


def merge_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Merges dotted keys into a config, in place, and warns of keys that may be misspelt.

    MMEngine adds a key that is not there without a word, and a misspelt one then does nothing.
    A key is not worth a warning where MMEngine looks for it anyway, nor beside a ``type``, whose
    class refuses arguments that it does not know, unless the key resembles one that is there.

    Args:
        cfg: The config to change.
        options: Dotted keys and their new values.

    Raises:
        UserError: A key goes through a value that is neither a dict nor a list, or an index is
            out of range.
    """
    for key in options:
        added = _suspicious_part(cfg, key)
        if added:
            warn(f'--cfg-options {key}: the config has no {added}')
    try:
        cfg.merge_from_dict(dict(options))
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise UserError(f'--cfg-options {" ".join(options)}: {first_line(error)}') from error


def _suspicious_part(cfg: Config, key: str) -> str:
    """The part of a dotted key that a config lacks and that may be misspelt, with near names."""
    parts = key.split('.')
    here: Any = cfg
    for depth, part in enumerate(parts):
        prefix = '.'.join(parts[:depth])
        if isinstance(here, (list, tuple)):
            if not part.isdigit() or int(part) >= len(here):
                raise UserError(
                    f'--cfg-options {key}: "{prefix}" is a list of {len(here)}, so "{part}" must '
                    f'be an index from 0 to {len(here) - 1}'
                )
            here = here[int(part)]
        elif not isinstance(here, (Mapping, Config)):
            raise UserError(
                f'--cfg-options {key}: "{prefix}" is {here!r}, which has no key "{part}"'
            )
        elif part in here:
            here = here[part]
        else:
            near = did_you_mean(part, here)
            expected = {'': _RUNNER_KEYS, 'default_hooks': _DEFAULT_HOOKS}.get(prefix, ())
            if part in expected or part in _MERGE_KEYS or ('type' in here and not near):
                return ''
            return f'"{".".join(parts[: depth + 1])}", which is added{near}'
    return ''
