"""Whether a call is being recorded."""

from __future__ import annotations

import torch


def is_tracing() -> bool:
    """Returns whether torch.compile, torch.export or torch.jit.trace is recording the call.

    Example:
        >>> is_tracing()
        False
    """
    # torch.jit imports it without listing it among its names.
    return torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
