"""Compiling the inference form of a module."""

from __future__ import annotations

import shutil

from torch import nn

# What a detector runs on every image, from tensors to tensors; the rest depends on what is found.
_PARTS_OF_A_DETECTOR = ('backbone', 'neck')


def compile_inference(module: nn.Module) -> None:
    """Has TorchInductor compile a module in place, as one graph, with its weights as constants.

    The compiler runs at the first call, which has to be under ``torch.no_grad()``, and again for
    images of another size. Of a detector the backbone and the neck are compiled, as what follows
    depends on what is found in the images.

    Args:
        module: A module of :func:`to_inference`.

    Raises:
        RuntimeError: The machine has no C++ compiler.
    """
    on_cpu = all(parameter.device.type == 'cpu' for parameter in module.parameters())
    if on_cpu and not any(map(shutil.which, _compilers())):
        raise RuntimeError(
            'compile=True: torch.compile needs a C++ compiler, and there is none: install g++, or '
            'name another one in the environment variable CXX'
        )
    parts = [getattr(module, name, None) for name in _PARTS_OF_A_DETECTOR]
    for part in [part for part in parts if isinstance(part, nn.Module)] or [module]:
        part.compile(fullgraph=True, options={'freezing': True})


def _compilers() -> tuple[str, ...]:
    from torch._inductor import config

    # None in it stands for one that would be downloaded.
    return tuple(name for name in config.cpp.cxx if name)
