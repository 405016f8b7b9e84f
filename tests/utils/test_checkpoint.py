"""Checkpointing: what runs again in backward leaves no trace but the gradients."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmblocks.utils.checkpoint import checkpoint_block


class CallCounter(nn.Module):
    """Counts its calls in a buffer, and puts a new tensor there each time."""

    def __init__(self):
        super().__init__()
        self.register_buffer('calls', torch.zeros(()))
        self.register_buffer('nothing', None)

    def forward(self, x):
        self.calls = self.calls + 1
        return x.sigmoid()


def block():
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(inplace=True), CallCounter()]
    return [layer.double() for layer in (*layers, nn.Conv2d(4, 2, 1))]


def run(layers, x):
    for layer in layers:
        x = layer(x)
    return x


@pytest.mark.parametrize('passes', [1, 3])
def test_buffers_move_in_the_first_run_only_however_often_it_runs_again(passes):
    plain = nn.ModuleList(block())
    recomputed = copy.deepcopy(plain)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    losses = run(plain, x).square().mean(), checkpoint_block(recomputed, x).square().mean()
    for loss in losses:
        for _ in range(passes):
            loss.backward(retain_graph=True)
    assert_close(dict(recomputed.named_buffers()), dict(plain.named_buffers()), rtol=0, atol=0)
    assert_close([p.grad for p in recomputed.parameters()], [p.grad for p in plain.parameters()])
    assert recomputed[3].calls == 1


def test_a_checkpoint_within_another_changes_nothing_either():
    plain = nn.ModuleList(block())
    recomputed = copy.deepcopy(plain)

    class Inner(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers

        def forward(self, x):
            return checkpoint_block(self.layers, x)

    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    outs = run(plain, x), checkpoint_block([Inner(recomputed), nn.Tanh()], x)
    losses = outs[0].tanh().square().mean(), outs[1].square().mean()
    first, second = [], []
    for loss, net in zip(losses, (plain, recomputed), strict=True):
        parameters = list(net.parameters())
        grads = torch.autograd.grad(loss, [x, *parameters], create_graph=True)
        penalty = sum(grad.square().sum() for grad in grads)
        first.append(grads)
        second.append(torch.autograd.grad(penalty, [x, *parameters], materialize_grads=True))
    assert_close(first[1], first[0])
    assert_close(second[1], second[0])
    assert_close(dict(recomputed.named_buffers()), dict(plain.named_buffers()), rtol=0, atol=0)


def test_buffers_come_back_when_the_second_run_fails():
    class Fragile(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 1:
                raise MemoryError
            return x.sigmoid()

    layers = nn.ModuleList([*block(), Fragile()])
    loss = checkpoint_block(layers, torch.rand(2, 3, 8, 8, dtype=torch.float64)).sum()
    before = {name: buffer.clone() for name, buffer in layers.named_buffers()}
    with pytest.raises(MemoryError):
        loss.backward()
    assert_close(dict(layers.named_buffers()), before, rtol=0, atol=0)
