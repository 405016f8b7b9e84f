"""MMEngine's checkpoints load with weights_only=True, and code in a file does not run."""

import copy
import os
import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.serialization import clear_safe_globals, get_safe_globals, safe_globals

from mmblocks.weights.safe_globals import allow_mmengine_checkpoints
from tests.weights.tiny_runner import config

SCHEDULERS = {
    'one cycle': [dict(type='OneCycleLR', eta_max=0.1, total_steps=4)],
    'one cycle, linear': [
        dict(type='OneCycleLR', eta_max=0.1, total_steps=4, anneal_strategy='linear')
    ],
    'linear, then steps': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
        dict(type='MultiStepLR', milestones=[1, 2]),
    ],
    'cosine': [dict(type='CosineAnnealingLR', T_max=4)],
    'cosine with restarts': [
        dict(type='CosineRestartLR', periods=[2, 2], restart_weights=[1, 0.5], eta_min=0)
    ],
    'polynomial': [dict(type='PolyLR', power=0.9)],
    'exponential': [dict(type='ExponentialLR', gamma=0.9)],
    'plateau': [dict(type='ReduceOnPlateauLR', monitor='numpy/score')],
    'momentum': [dict(type='CosineAnnealingMomentum', T_max=4)],
}


@pytest.fixture(autouse=True)
def _isolated():
    scopes = dict(DefaultScope._instance_dict)
    allowed = get_safe_globals()
    clear_safe_globals()
    yield
    clear_safe_globals()
    torch.serialization.add_safe_globals(allowed)
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)


def equal(a, b):
    """Whether two checkpoints hold the same, however deep."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, HistoryBuffer):
        return type(b) is HistoryBuffer and equal(a.data, b.data)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize('name', SCHEDULERS)
def test_real_checkpoints_load_and_resume(name, tmp_path):
    changes = dict(custom_hooks=[dict(type='EMAHook', ema_type='ExponentialMovingAverage')])
    Runner(**config(tmp_path, SCHEDULERS[name], **changes)).train()
    path = tmp_path / 'epoch_2.pth'
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)

    allow_mmengine_checkpoints()
    safe = torch.load(path, weights_only=True)
    assert equal(torch.load(path, weights_only=False), safe)
    assert {'ema_state_dict', 'optimizer', 'param_schedulers', 'message_hub'} <= set(safe)
    assert safe['meta']['dataset_meta']['nested'] == dict(a=1)

    longer = config(tmp_path, SCHEDULERS[name], load_from=str(path), resume=True, **changes)
    longer['train_cfg']['max_epochs'] = 3
    runner = Runner(**longer)
    runner.train()
    assert runner.epoch == 3
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 6


def test_the_state_of_mixed_precision_loads(tmp_path):
    state = dict(optimizer=dict(loss_scaler=torch.amp.GradScaler('cpu').state_dict()))
    torch.save(state, tmp_path / 'amp.pth')
    allow_mmengine_checkpoints()
    assert torch.load(tmp_path / 'amp.pth', weights_only=True) == state


@pytest.mark.parametrize('code', '?bhilqBHILQefdSU')
def test_numpy_arrays_and_scalars_of_all_plain_types_load(code, tmp_path):
    array = np.array([[1, 0], [0, 1]]).astype(code)
    torch.save([array, array[0, 0], array[:0]], tmp_path / 'numpy.pth')
    allow_mmengine_checkpoints()
    loaded, scalar, empty = torch.load(tmp_path / 'numpy.pth', weights_only=True)
    assert empty.shape == (0, 2)
    assert loaded.dtype == array.dtype
    assert np.array_equal(loaded, array)
    assert scalar == array[0, 0]


def test_the_command_line_that_a_trainer_stores_loads(tmp_path):
    args = Namespace(lr=0.1, output=Path('runs') / 'a')
    torch.save(dict(args=args), tmp_path / 'args.pth')
    allow_mmengine_checkpoints()
    loaded = torch.load(tmp_path / 'args.pth', weights_only=True)['args']
    assert (loaded.lr, str(loaded.output)) == (0.1, str(args.output))


def test_files_of_numpy_1_and_numpy_2_load(tmp_path):
    # Only the name of the module in the file matters, so it is written as text.
    torch.save(np.float64(0.5), tmp_path / 'scalar.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'scalar.pth').read_bytes()
    allow_mmengine_checkpoints()
    for new in (b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'):
        changed = content.replace(b'cnumpy._core.multiarray\n', new)
        changed = changed.replace(b'cnumpy.core.multiarray\n', new)
        assert new in changed
        (tmp_path / 'other.pth').write_bytes(changed)
        assert torch.load(tmp_path / 'other.pth', weights_only=True) == 0.5


def test_allowing_twice_adds_nothing():
    allow_mmengine_checkpoints()
    once = set(get_safe_globals())
    allow_mmengine_checkpoints()
    assert set(get_safe_globals()) == once


def test_it_outlasts_the_allow_lists_of_others(tmp_path):
    torch.save([HistoryBuffer([1.0], [1]), np.float64(1)], tmp_path / 'a.pth')
    allow_mmengine_checkpoints()
    dtypes = [type(np.dtype(code)) for code in 'dl']
    with safe_globals([HistoryBuffer, np.dtype, np.ndarray, *dtypes]):
        torch.load(tmp_path / 'a.pth', weights_only=True)
    torch.load(tmp_path / 'a.pth', weights_only=True)


def test_what_others_allow_under_the_same_names_gives_way(tmp_path):
    torch.serialization.add_safe_globals([np.dtype, type(np.dtype('f8')), Namespace])
    allow_mmengine_checkpoints()
    assert np.dtype not in get_safe_globals()
    assert type(np.dtype('f8')) in get_safe_globals()


def array_of(dtype_text='f8', dtype_state=(3, '<', None, None, None, -1, -1, 0), **changes):
    """The pickle of an array under numpy's names that says what numpy would believe."""
    state = dict(version=1, shape=(2,), dtype=None, in_columns=False, data=b'x' * 16) | changes

    class Dtype:
        def __reduce__(self):
            return np.dtype, (dtype_text, False, True), dtype_state

    class Array:
        def __reduce__(self):
            state['dtype'] = Dtype()
            return np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b'b'), tuple(state.values())

    return Array()


@pytest.mark.parametrize(
    'lie',
    [
        dict(dtype_text='O'),
        dict(dtype_text='V16'),
        dict(dtype_text='i4,i4'),
        dict(dtype_text='M8[s]'),
        dict(dtype_text='c16'),
        dict(shape=(-1, -2)),
        dict(shape=(2**62, 4)),
        dict(shape=(3,)),
        dict(shape=(True, 2)),
        dict(data=b'x' * 15),
        dict(data=[object, object]),
        dict(dtype_text='U2', data=b'\xff' * 16),
    ],
    ids=str,
)
@pytest.mark.parametrize('new_format', [True, False])
def test_an_array_that_is_not_what_it_says_is_refused(lie, new_format, tmp_path):
    torch.save(array_of(**lie), tmp_path / 'a.pth', _use_new_zipfile_serialization=new_format)
    allow_mmengine_checkpoints()
    with pytest.raises((ValueError, TypeError, pickle.UnpicklingError)):
        torch.load(tmp_path / 'a.pth', weights_only=True)


def test_what_a_file_says_of_a_dtype_beyond_its_byte_order_is_ignored(tmp_path):
    fields = dict(a=(np.dtype('f4'), 0))
    state = (3, '>', (np.dtype('f4'), (2,)), ('a',), fields, 8, 8, 63)
    torch.save(array_of(dtype_state=state, data=np.ones(2, '>f8').tobytes()), tmp_path / 'a.pth')
    allow_mmengine_checkpoints()
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded.dtype.fields is None
    assert loaded.dtype.flags == np.dtype('f8').flags
    assert loaded.tolist() == [1.0, 1.0]


def test_an_array_from_a_file_is_written_and_copied_as_numpys_own(tmp_path):
    array = np.arange(6.0).reshape(2, 3).T
    torch.save(array, tmp_path / 'a.pth')
    allow_mmengine_checkpoints()
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert np.array_equal(loaded, array)
    assert type(copy.deepcopy(loaded)) is np.ndarray
    assert type(pickle.loads(pickle.dumps(loaded))) is np.ndarray


class Call:
    """An object whose pickle asks for a call."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call

    def __call__(self):
        """So that pickle takes it for something that can be called."""


def hostile(name, marker):
    methods = Call(getattr, HistoryBuffer, 'min')
    return {
        'os.system': Call(os.system, f'touch {marker}'),
        'eval': Call(eval, f"open('{marker}', 'w')"),
        'exec': Call(exec, f"open('{marker}', 'w')"),
        'open': Call(open, str(marker), 'w'),
        'getattr of a dict': Call(getattr, dict, 'get'),
        'getattr of an allowed class': Call(getattr, HistoryBuffer, '__init__'),
        'getattr of what getattr gave': Call(getattr, methods, '__globals__'),
        'getattr of a module': Call(getattr, Call(__import__, 'os'), 'system'),
        'getattr of an instance': Call(getattr, HistoryBuffer(), 'update'),
        'getattr of a string': Call(getattr, 'text', '__class__'),
        'getattr with a default': Call(getattr, HistoryBuffer, 'absent', 1),
        'a private function of a scheduler': Call(getattr, OneCycleParamScheduler, '__init__'),
        'a call of an allowed function': Call(methods, HistoryBuffer()),
        'an instance of a scheduler': Call(OneCycleParamScheduler, None, 'lr'),
        'an array of objects': np.array([Call(os.system, f'touch {marker}')], dtype=object),
    }[name]


@pytest.mark.parametrize(
    'name',
    [
        'os.system',
        'eval',
        'exec',
        'open',
        'getattr of a dict',
        'getattr of an allowed class',
        'getattr of what getattr gave',
        'getattr of a module',
        'getattr of an instance',
        'getattr of a string',
        'getattr with a default',
        'a private function of a scheduler',
        'a call of an allowed function',
        'an instance of a scheduler',
        'an array of objects',
    ],
)
@pytest.mark.parametrize('new_format', [True, False])
def test_a_file_cannot_run_code(name, new_format, tmp_path):
    marker = tmp_path / 'code-ran'
    path = tmp_path / 'hostile.pth'
    content = dict(state_dict={}, meta=hostile(name, marker))
    torch.save(content, path, _use_new_zipfile_serialization=new_format)
    allow_mmengine_checkpoints()
    with pytest.raises((pickle.UnpicklingError, AttributeError, TypeError)):
        torch.load(path, weights_only=True)
    assert not marker.exists()


@pytest.mark.parametrize('name', ['os.system', 'eval', 'exec', 'open'])
def test_the_same_file_does_run_code_without_weights_only(name, tmp_path):
    marker = tmp_path / 'code-ran'
    torch.save(hostile(name, marker), tmp_path / 'hostile.pth')
    torch.load(tmp_path / 'hostile.pth', weights_only=False)
    assert marker.exists()


def test_a_history_in_a_file_does_not_change_the_histories_of_the_process(tmp_path):
    class Poisoned(HistoryBuffer):
        def __reduce__(self):
            state = dict(self.__dict__, statistics_methods={'mean': HistoryBuffer.min})
            return HistoryBuffer, (), state

    torch.save(Poisoned([1.0, 3.0], [1, 1]), tmp_path / 'history.pth')
    allow_mmengine_checkpoints()
    loaded = torch.load(tmp_path / 'history.pth', weights_only=True)
    assert loaded.statistics('mean') == 2.0
    assert HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2.0


@pytest.mark.parametrize(
    'state',
    [
        None,
        dict(max_length=3),
        dict(max_length='x', _log_history=np.ones(1), _count_history=np.ones(1)),
        dict(max_length=3, _log_history=np.ones(2), _count_history=np.ones(1)),
        dict(max_length=3, _log_history=np.ones((1, 1)), _count_history=np.ones((1, 1))),
        dict(max_length=3, _log_history=np.array(['x']), _count_history=np.ones(1)),
        dict(max_length=3, _log_history=[1.0], _count_history=[1]),
    ],
    ids=str,
)
def test_a_history_without_numbers_is_refused(state, tmp_path):
    class Empty(HistoryBuffer):
        def __reduce__(self):
            return HistoryBuffer, (), state or ''

    torch.save(Empty(), tmp_path / 'history.pth')
    allow_mmengine_checkpoints()
    with pytest.raises(ValueError, match='a HistoryBuffer in it'):
        torch.load(tmp_path / 'history.pth', weights_only=True)


def test_a_config_without_end_is_refused(tmp_path):
    class Endless:
        def __reduce__(self):
            value = ['a']
            for _ in range(60):
                value = [value, value]
            return ConfigDict, ({'a': value},)

    torch.save(Endless(), tmp_path / 'config.pth')
    allow_mmengine_checkpoints()
    with pytest.raises(ValueError, match='does not end'):
        torch.load(tmp_path / 'config.pth', weights_only=True)


def test_a_restored_history_goes_on(tmp_path):
    history = HistoryBuffer([1.0, 3.0], [1, 1], max_length=3)
    torch.save(history, tmp_path / 'history.pth')
    allow_mmengine_checkpoints()
    loaded = torch.load(tmp_path / 'history.pth', weights_only=True)
    for value in (5.0, 7.0):
        loaded.update(value)
    assert loaded.data[0].tolist() == [3.0, 5.0, 7.0]
    torch.save(loaded, tmp_path / 'again.pth')
    again = torch.load(tmp_path / 'again.pth', weights_only=True)
    assert equal(loaded, again)
