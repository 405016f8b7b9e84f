"""Weights that no net can compute with are an error that names the tensor, whoever loads them."""

import re

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmblocks import SqueezeNet
from mmblocks.utils.errors import UserError
from mmblocks.weights import load_pretrained
from mmblocks.weights.convert import convert_weights
from mmblocks.weights.filling import load_weights
from mmblocks.weights.values import check_tensors

CONV = 'features.0.weight'


def by_load_pretrained(path, **options):
    net = SqueezeNet('1_1')
    load_pretrained(net, str(path), **options)
    return net.state_dict()


def by_init_cfg(path, **options):
    net = SqueezeNet('1_1', init_cfg=dict(type='Pretrained', checkpoint=str(path), **options))
    net.init_weights()
    return net.state_dict()


def by_convert_weights(path, **options):
    return convert_weights(SqueezeNet('1_1'), str(path), **options).state_dict


DOORS = (by_load_pretrained, by_init_cfg, by_convert_weights)


@pytest.fixture(scope='module')
def good():
    return SqueezeNet('1_1').state_dict()


@pytest.fixture
def write(good, tmp_path):
    def write(**changes):
        changes = {key.replace('__', '.'): value for key, value in changes.items()}
        torch.save(good | changes, tmp_path / 'net.pth')
        return tmp_path / 'net.pth'

    return write


@pytest.fixture
def log(caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def with_value(tensor, value, count=1):
    tensor = tensor.clone()
    tensor.view(-1)[:count] = value
    return tensor


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_nan_and_infinity_are_an_error_unless_they_are_allowed(door, value, write, good, log):
    path = write(**{CONV: with_value(good[CONV], value, 3)})
    with pytest.raises(UserError, match=rf'net\.pth: {CONV} has 3 values of .* NaN or infinite'):
        door(path)
    loaded = door(path, allow_nonfinite=True)
    assert torch.equal(loaded[CONV].nan_to_num(), with_value(good[CONV], value, 3).nan_to_num())
    assert '3 values in 1 tensors are NaN or infinite: features.0.weight' in log.text


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda t: t.bool(), 'is bool, where floats are wanted'),
        (lambda t: t.long(), 'is int64, where floats are wanted'),
        (lambda t: t.to(torch.complex64), 'is complex64, where floats are wanted'),
        (lambda t: t.to(torch.int8), r'quantised weights \(features\.0\.weight is int8\)'),
        (lambda t: t.to(torch.float8_e4m3fn), r'quantised weights \(features\.0\.weight is float8'),
        (
            lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8),
            r'quantised weights \(features\.0\.weight is qint8\)',
        ),
        (lambda t: t.to_sparse(), r'features\.0\.weight is a sparse or nested tensor'),
        (lambda t: t.to('meta'), r'features\.0\.weight has no values: .* meta device'),
    ],
)
@pytest.mark.filterwarnings('ignore:.*torch.ao.quantization|Casting complex|.*is deprecated')
def test_tensors_of_another_kind_are_named(door, change, said, write, good):
    path = write(**{CONV: change(good[CONV])})
    with pytest.raises(UserError, match=said) as caught:
        door(path, allow_nonfinite=True)
    assert '\n' not in str(caught.value)
    assert CONV in str(caught.value)


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_widths_are_taken(door, dtype, write, good):
    loaded = door(write(**{CONV: good[CONV].to(dtype)}))
    assert torch.allclose(loaded[CONV].float(), good[CONV], atol=1e-2)


def norm(**changes):
    return nn.Sequential(nn.BatchNorm2d(2)).state_dict() | {f'0.{k}': v for k, v in changes.items()}


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(running_var=torch.tensor([1.0, -0.1])), r'0\.running_var has negative variances'),
        (dict(running_mean=torch.tensor([1.0, torch.nan])), r'0\.running_mean has 1 values of 2'),
        (dict(bias=torch.ones(2, dtype=torch.int32)), r'0\.bias is int32'),
        (dict(num_batches_tracked=torch.tensor(1j)), r'0\.num_batches_tracked is complex64'),
    ],
)
def test_a_whole_model_is_held_to_the_same(changes, said):
    with pytest.raises(UserError, match=said):
        load_weights(nn.Sequential(nn.BatchNorm2d(2)), norm(**changes))


def test_a_channel_that_never_varied_is_taken():
    net = nn.Sequential(nn.BatchNorm2d(2))
    assert load_weights(net, norm(running_var=torch.tensor([1.0, 0.0]))).is_full


def test_counters_are_integers_or_not():
    for counter in (torch.tensor(3), torch.tensor(3.0), torch.tensor(3, dtype=torch.int32)):
        net = nn.Sequential(nn.BatchNorm2d(2))
        assert load_weights(net, norm(num_batches_tracked=counter)).is_full
        assert net[0].num_batches_tracked == 3


def test_infinity_that_a_net_has_itself_is_its_own():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer('mask', torch.tensor([0.0, -torch.inf]))

    assert load_weights(Masked(), Masked().state_dict()).is_full
    with pytest.raises(UserError, match='mask has 1 values of 2'):
        load_weights(Masked(), dict(mask=torch.tensor([-torch.inf, 0.0])))


def test_what_has_no_place_may_be_anything(write, good):
    by_load_pretrained(write(head__weight=with_value(torch.ones(3), torch.nan)))


def test_nothing_is_left_in_the_module():
    net = nn.Linear(1, 1)
    with pytest.raises(UserError):
        load_weights(net, dict(weight=torch.full((1, 1), torch.nan), bias=torch.ones(1)))
    net.load_state_dict(dict(weight=torch.full((1, 1), torch.nan), bias=torch.ones(1)))


@pytest.mark.parametrize(
    'names',
    [
        {'fc._packed_params._packed_params': None, 'fc.scale': torch.ones(())},
        {'layer.weight': torch.ones(4, 1, dtype=torch.uint8), 'layer.weight.absmax': torch.ones(1)},
        {'layer.weight': torch.ones(4, 4, dtype=torch.int8), 'layer.SCB': torch.ones(4)},
        {'layer.qweight': torch.ones(4, 4, dtype=torch.int32), 'layer.scales': torch.ones(4)},
    ],
    ids=['torch', 'bitsandbytes in 4 bits', 'bitsandbytes in 8 bits', 'GPTQ'],
)
def test_files_of_quantised_weights_are_told_by_their_names_too(names):
    with pytest.raises(UserError, match=re.escape('x: these are quantised weights (')):
        check_tensors(names, 'x')


def test_weights_that_were_trained_to_be_quantised_later_are_floats():
    check_tensors(
        {
            'conv.weight': torch.ones(2),
            'conv.weight_fake_quant.zero_point': torch.ones(1, dtype=torch.int32),
        },
        'x',
    )


def test_an_expanded_tensor_that_claims_a_terabyte_is_not_looked_through(tmp_path, good):
    path = tmp_path / 'net.pth'
    torch.save(good | {CONV: torch.ones(1).expand(10**12)}, path)
    with pytest.raises(UserError, match='found weights'):
        by_load_pretrained(path, min_match=1)
