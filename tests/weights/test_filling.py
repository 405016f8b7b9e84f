"""What of a checkpoint fits a model is counted as torch's loading counts it."""

import pytest
import torch
from mmengine.model import BaseTTAModel
from torch import nn

from mmblocks.weights.filling import load_weights


def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def test_a_full_fit():
    model, other = net(), net()
    report = load_weights(model, other.state_dict())
    assert report.is_full
    assert report.in_one_line == '6 of 6 tensors loaded'
    assert torch.equal(model[0].weight, other[0].weight)


def test_missing_unexpected_and_misshapen_tensors_are_counted_and_named():
    state = net().state_dict()
    state['0.weight'] = torch.ones(4, 3, 1, 1)
    del state['1.bias'], state['1.running_mean']
    state['2.weight'] = torch.ones(1)
    report = load_weights(net(), state)
    assert (report.wanted, len(report.matched), report.is_full) == (6, 3, False)
    assert report.in_one_line == (
        '3 of 6 tensors loaded, 2 missing (1.bias, 1.running_mean), '
        '1 of another size (0.weight (4, 3, 1, 1) for (4, 3, 3, 3)), '
        '1 without a place here (2.weight)'
    )


def test_only_the_first_names_are_shown():
    report = load_weights(net(), {'0.weight': torch.ones(4, 3, 3, 3)})
    assert '5 missing (0.bias, 1.weight, 1.bias, 1.running_mean, ...)' in report.in_one_line


def test_the_counter_of_batch_norm_does_not_count():
    state = net().state_dict()
    del state['1.num_batches_tracked']
    assert load_weights(net(), state).is_full


def test_names_that_modules_map_while_loading_are_their_own():
    model, other = nn.Sequential(net()), net()

    def rename(module, state_dict, prefix, *args):
        for name in [name for name in state_dict if name.startswith(f'{prefix}old.')]:
            state_dict[name.replace('old.', '')] = state_dict.pop(name)

    model[0].register_load_state_dict_pre_hook(rename)
    report = load_weights(model, {f'0.old.{name}': v for name, v in other.state_dict().items()})
    assert report.is_full
    assert not report.unexpected
    assert torch.equal(model[0][0].weight, other[0].weight)


def test_wrappers_are_looked_through():
    class Augmented(BaseTTAModel):
        def merge_preds(self, data_samples_list):
            """Not called here."""

    class Inner(nn.Module):
        data_preprocessor = None

        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(1, 1)

        def test_step(self, data):
            """Not called here."""

    wrapped = Augmented(Inner())
    assert load_weights(wrapped, Inner().state_dict()).is_full


def test_what_is_no_tensor_is_counted():
    report = load_weights(nn.Linear(2, 2), {'weight': 'text', 'bias': torch.ones(2)})
    assert report.matched == ('bias',)
    assert report.mismatched == (('weight', 'str', (2, 2)),)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float64])
def test_another_dtype_fits(dtype):
    state = {name: value.to(dtype) for name, value in nn.Linear(2, 2).state_dict().items()}
    assert load_weights(nn.Linear(2, 2), state).is_full
