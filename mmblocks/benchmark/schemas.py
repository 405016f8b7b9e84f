"""The schemas of operators without which torchvision cannot be imported."""

from __future__ import annotations

import contextlib

import torch


def declare_schemas() -> torch.library.Library:
    """Declares the schemas that torchvision's Python code looks for, where they are not there.

    There is no CPU build of torchvision: its compiled operators do not load beside a CPU build of
    torch, and its nets need none of them.

    Returns:
        What holds the schemas: they are there as long as it is.
    """
    fragment = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in ('nms(Tensor x) -> Tensor', 'qnms(Tensor x) -> Tensor'):
        with contextlib.suppress(RuntimeError):  # a torchvision that fits torch has declared them
            fragment.define(schema)
    return fragment
