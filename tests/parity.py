"""How a net of ours is held against a peer with the same weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.testing import assert_close

# After how many the values of a tensor repeat: a prime, so that no two of its filters are equal.
PERIOD = 65_521


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Returns every tensor of a module, BatchNorm's buffers included, values that matter.

    Norm weights stay near one, so that a zero-initialised residual branch cannot hide a mistake,
    and activations keep their size through deep nets.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for child in module.modules():
            for name, tensor in child.named_parameters(recurse=False):
                if tensor.dim() > 1:
                    fan_in = tensor[0].numel()
                    _fill(tensor, (1.5 / fan_in) ** 0.5, generator)
                else:
                    centre = 1 if name == 'weight' and _is_norm(child) else 0
                    tensor.normal_(centre, 0.1, generator=generator)
            for name, tensor in child.named_buffers(recurse=False):
                if name == 'running_mean':
                    tensor.normal_(0, 0.1, generator=generator)
                elif name == 'running_var':
                    tensor.normal_(0, 0.2, generator=generator).abs_().add_(1)
    return module


def _fill(tensor: Tensor, std: float, generator: torch.Generator) -> None:
    """Draws normal values; those of wide layers repeat, since drawing millions takes long."""
    flat = tensor.view(-1)
    drawn = flat[:PERIOD].normal_(0, std, generator=generator)
    for start in range(PERIOD, len(flat), PERIOD):
        part = flat[start : start + PERIOD]
        part.copy_(drawn[: len(part)])


def _is_norm(module: nn.Module) -> bool:
    return 'norm' in type(module).__name__.lower()


def assert_same_maps(ours: Sequence[Tensor], theirs: Sequence[Tensor], rtol: float = 1e-5) -> None:
    """Checks that two lists of maps agree, relative to the largest value of each map."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        scale = b.detach().abs().max().item()
        assert 1e-3 < scale < 1e4, 'a map that is nearly zero or huge proves nothing'
        assert_close(a, b, rtol=0, atol=rtol * max(scale, 1.0))


def gradients(
    module: nn.Module, forward: Callable[[Tensor], Sequence[Tensor]], x: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Backpropagates a fixed random weighting of all outputs; gives the gradients."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    generator = torch.Generator().manual_seed(7)
    loss = sum(
        (out * torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)).sum()
        for out in forward(x)
    )
    loss.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}, x.grad


def assert_same_gradients(
    ours: nn.Module,
    theirs: nn.Module,
    their_maps: Callable[[Tensor], Sequence[Tensor]],
    x: Tensor,
    rtol: float = 1e-8,
) -> None:
    """Checks that two nets in training mode agree in every gradient, computed in float64.

    Both must list their parameters under the same names or in the same order.
    """
    x = x.double()
    for module in (ours, theirs):
        module.double().train()
    grads, dx = gradients(ours, ours, x)
    their_grads, their_dx = gradients(theirs, their_maps, x)
    assert_close(dx, their_dx, rtol=rtol, atol=rtol * their_dx.abs().max().item())
    assert len(grads) == len(their_grads)
    if grads.keys() == their_grads.keys():
        their_grads = {name: their_grads[name] for name in grads}
    for grad, expected in zip(grads.values(), their_grads.values(), strict=True):
        scale = max(1, expected.abs().max().item())
        assert_close(grad, expected, rtol=rtol, atol=rtol * scale)
