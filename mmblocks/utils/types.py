"""Types of arguments, named as in ``mmdet.utils``."""

from __future__ import annotations

from typing import Any, TypeAlias

# One config, or several: dicts of arguments, most with a class under ``type``. That an
# argument may be None stands beside them, where `check_arguments` reads it.
ConfigType: TypeAlias = dict[str, Any]
MultiConfig: TypeAlias = ConfigType | list[ConfigType]
