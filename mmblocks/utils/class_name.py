"""The class that a part of a config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def class_name(part: Mapping[str, Any], default: str = '') -> str:
    """Returns the name of the class that a part of a config is for, without its scope.

    Args:
        part: A dict with a ``type``: a name, as in most configs, or the class itself, as in
            pure-Python ones.
        default: The name where there is no ``type``.

    Returns:
        The name.

    Example:
        >>> class_name({'type': 'mmengine.EMAHook'}), class_name({'type': dict})
        ('EMAHook', 'dict')
    """
    kind = part.get('type') or default
    return kind.rsplit('.', 1)[-1] if isinstance(kind, str) else getattr(kind, '__name__', '')
