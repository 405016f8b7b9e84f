"""A training that diverges ends before it saves anything, and says so in one line."""

import math
import os

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import distributed

from mmblocks.utils.errors import UserError
from tests.engine.tiny_run import keep_globals
from tests.weights.tiny_runner import Model, config


@pytest.fixture(autouse=True)
def _globals():
    with keep_globals():
        yield


class Diverging(Model):
    """A part of its loss takes a value in one iteration, and its accuracy is never a number."""

    def __init__(self, value, at):
        super().__init__()
        self.value, self.at, self.seen = value, at, 0

    def forward(self, inputs, mode='loss'):
        losses = super().forward(inputs, mode)
        if mode == 'loss':
            self.seen += 1
            other = torch.tensor(self.value if self.seen == self.at else 1.0)
            losses = dict(loss_a=losses['loss'], loss_b=other, acc=torch.tensor(math.nan))
        return losses


class Break(Hook):
    """After an iteration, a tensor of the model is no number any more."""

    def __init__(self, name, value, at):
        self.name, self.value, self.at = name, value, at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at:
            runner.model.state_dict()[self.name].fill_(self.value)


def train(folder, model, *hooks, **changes):
    cfg = config(folder, custom_hooks=[dict(type='StopOnDivergenceHook'), *hooks], **changes)
    cfg['model'] = model
    runner = Runner(**cfg)
    runner.train()
    return runner


def refusal(*args, **options):
    with pytest.raises(UserError) as caught:
        train(*args, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_training(value, tmp_path):
    message = refusal(tmp_path, Diverging(value, at=3))
    assert message.startswith(
        'training has diverged at epoch 2, iteration 3, learning rate 0.1: loss='
    )
    assert f'loss={value:g}, loss_a=0.' in message
    assert f', loss_b={value:g}; lower the learning rate' in message
    assert '--keep-going trains on' in message
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == ['epoch_1.pth']


def test_the_first_checkpoint_is_not_written_either(tmp_path):
    refusal(tmp_path, Diverging(math.nan, at=2))
    assert not list(tmp_path.glob('*.pth'))


def test_other_outputs_may_be_no_numbers(tmp_path):
    assert train(tmp_path, Diverging(1.0, at=1)).iter == 4


@pytest.mark.parametrize('name', ['net.0.weight', 'net.1.running_var'])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_not_saved(name, value, tmp_path):
    model = Model()
    message = refusal(tmp_path, model, Break(name, value, at=4))
    assert f'weights are not finite: {name}; ' in message
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == ['epoch_1.pth']


def test_a_mask_may_be_infinite(tmp_path):
    model = Model()
    model.register_buffer('mask', torch.full((2,), -math.inf))
    assert train(tmp_path, model).iter == 4


def test_an_average_of_the_weights_is_as_good(tmp_path):
    average = dict(type='EMAHook')
    assert 'not finite: net.0.weight;' in refusal(
        tmp_path, Model(), average, Break('net.0.weight', math.nan, 2)
    )
    assert not list(tmp_path.glob('*.pth'))


def test_steps_that_a_loss_scaler_leaves_out_are_none_of_its_business(tmp_path):
    """Their gradients are infinite, but neither the loss nor the weights."""

    class Overflow(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None):
            handle = runner.model.net[0].weight.register_hook(lambda grad: grad * math.inf)
            handles.append(handle)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            handles.pop().remove()

    handles = []
    scaler = torch.amp.GradScaler('cpu')

    class Scaled(Model):
        def train_step(self, data, optim_wrapper):
            losses = self(**self.data_preprocessor(data, True), mode='loss')
            loss, logs = self.parse_losses(losses)
            scaler.scale(loss).backward()
            scaler.step(optim_wrapper.optimizer)
            scaler.update()
            optim_wrapper.zero_grad()
            return logs

    model = Scaled()
    before = model.net[0].weight.detach().clone()
    assert train(tmp_path, model, Overflow()).iter == 4
    assert torch.equal(model.net[0].weight, before)
    assert scaler.get_scale() < 65536


def test_all_processes_end_when_the_loss_of_one_is_no_number(tmp_path):
    children = [in_group(rank, 2, tmp_path) for rank in range(2)]
    for process in children:
        _, status = os.waitpid(process, 0)
        assert os.waitstatus_to_exitcode(status) == 2
    said = [(tmp_path / f'said-{rank}').read_text() for rank in range(2)]
    assert all(words.startswith('training has diverged at epoch 1, iteration 1') for words in said)
    assert 'the loss of another process is not finite' in said[0]
    assert 'loss=nan' in said[1]
    assert not list(tmp_path.glob('*.pth'))


def in_group(rank, size, folder):
    """Trains in a process of a group; the loss of the second is NaN."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        os.environ['LOCAL_RANK'] = str(rank)
        store = f'file://{folder}/store'
        distributed.init_process_group('gloo', store, rank=rank, world_size=size)
        wrapper = dict(type='MMDistributedDataParallel', device_ids=None)
        cfg = Config(dict(model_wrapper_cfg=wrapper))
        train(folder, Diverging(math.nan, at=1 if rank else -1), launcher='pytorch', cfg=cfg)
    except UserError as error:
        (folder / f'said-{rank}').write_text(str(error))
        code = 2
    finally:
        os._exit(code)
