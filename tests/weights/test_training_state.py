"""MMEngine runs nothing of a checkpoint, deletes nothing that it names, stumbles over nothing."""

import copy
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.infer import BaseInferencer
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from torch import nn

from mmblocks.engine import UserError, guard_loaders, read_checkpoint
from mmblocks.engine.resume import check_training_goes_on
from mmblocks.weights.training_state import is_small, without_code
from tests.weights.tiny_runner import config


@pytest.fixture(autouse=True)
def _guarded():
    scopes = dict(DefaultScope._instance_dict)
    guard_loaders()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    Runner(**config(folder)).train()
    return folder


def changed(run, **changes):
    """Writes the run's checkpoint with something else in it; returns where."""
    checkpoint = torch.load(run / 'epoch_2.pth', weights_only=False)
    for key, value in changes.items():
        *parents, name = key.split('__')
        place = checkpoint
        for parent in parents:
            place = place[parent]
        place[name] = value
    torch.save(checkpoint, run / 'changed.pth')
    return run / 'changed.pth'


def resume(run, path):
    cfg = config(run, load_from=str(path), resume=True)
    cfg['train_cfg']['max_epochs'] = 3
    runner = Runner(**cfg)
    runner.train()
    return runner


def test_no_config_in_a_checkpoint_runs_on_resuming(run):
    marker = run / 'resuming ran'
    code = f"open({str(marker)!r}, 'w')"
    path = changed(run, meta__config=code, meta__cfg=code, message_hub__runtime_info__cfg=code)
    assert resume(run, path).epoch == 3
    assert not marker.exists()
    for loaded in (CheckpointLoader.load_checkpoint(str(path)), read_checkpoint(str(path))):
        assert 'open' not in str((loaded['meta'], loaded['message_hub']))


def test_an_inferencer_runs_no_config_of_a_checkpoint(run):
    class Inferencer(BaseInferencer):
        def _init_pipeline(self, cfg):
            """Is not reached."""

        preprocess = visualize = postprocess = _init_pipeline

    marker = run / 'inferencer ran'
    code = f"open({str(marker)!r}, 'w')"
    path = changed(run, meta__cfg=code, message_hub__runtime_info__cfg=code)
    with pytest.raises(ValueError, match='Cannot find the config in the checkpoint'):
        Inferencer(weights=str(path), device='cpu')
    assert not marker.exists()


def test_no_file_that_a_checkpoint_names_is_deleted(run, tmp_path):
    for path in (tmp_path / 'mine.txt', tmp_path / 'best_mine.pth'):
        path.write_text('precious')
        better = dict(best_ckpt=str(path), best_score=0.1, keep_ckpt_ids=[1])
        hub = copy.deepcopy(torch.load(run / 'epoch_2.pth', weights_only=False)['message_hub'])
        hub['runtime_info'].update(better)
        resume(run, changed(run, message_hub=hub))
        assert path.exists()


def test_the_best_checkpoint_of_the_run_itself_is_replaced_as_before(run):
    best = run / 'best_numpy_score_epoch_2.pth'
    best.write_text('the one so far')
    info = dict(best_ckpt=str(best), best_score=0.1)
    path = changed(run, **{f'message_hub__runtime_info__{k}': v for k, v in info.items()})
    resume(run, path)
    assert not best.exists()
    assert (run / 'best_numpy_score_epoch_3.pth').exists()


def bomb():
    value = ['a']
    for _ in range(60):
        value = [value, value]
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def test_what_cannot_be_walked_through_is_told():
    assert is_small(dict(a=[1, (2, {3})], b=list(range(10_000))))
    assert not is_small(bomb())
    assert not is_small(deep())


@pytest.mark.parametrize(
    ('meta', 'message_hub'),
    [
        (dict(seed='seven', dataset_meta=3), dict(log_scalars=3, runtime_info=4, resumed_keys=[1])),
        (
            dict(seed=-1, dataset_meta={1: 2}),
            dict(
                log_scalars={7: 'x', 'train/loss': 'x'},
                runtime_info={7: 'x'},
                resumed_keys=dict(lr=np.ones(2)),
            ),
        ),
        (
            dict(dataset_meta=dict(classes=bomb())),
            dict(
                log_scalars={'train/loss': 'x'},
                runtime_info={'val/x': bomb(), 'best_score': 'x', 'keep_ckpt_ids': 'x'},
                resumed_keys=dict(iter=bomb()),
            ),
        ),
    ],
)
def test_values_of_another_type_than_mmengine_writes_do_not_stop_it(meta, message_hub, run):
    changes = {f'meta__{key}': value for key, value in meta.items()}
    assert resume(run, changed(run, **changes, message_hub=message_hub)).epoch == 3


@pytest.mark.parametrize('key', ['meta', 'message_hub', 'optimizer'])
def test_a_state_that_is_no_dict_is_none(key):
    assert key not in without_code({key: 'x', 'state_dict': {}})


@pytest.mark.parametrize('states', [3, [3], [{1: 2}], dict(a=3), dict(a=[3])])
def test_schedulers_that_cannot_go_on_keep_the_training_from_it(states):
    left = without_code(dict(param_schedulers=states, optimizer={}))
    assert left == {}


def test_the_state_of_schedulers_stays():
    for states in ([dict(last_step=1)], [], dict(a=[dict(last_step=1)])):
        left = without_code(dict(param_schedulers=states, optimizer={}))
        assert left == dict(param_schedulers=states, optimizer={})


@pytest.mark.parametrize('groups', [3, [3], [dict(params=3)], [{}]])
def test_an_optimizers_state_of_another_type_is_said(groups, run):
    runner = Runner(**config(run))
    with pytest.raises(UserError, match='x cannot be resumed: '):
        check_training_goes_on(dict(optimizer=dict(param_groups=groups)), 'x', runner)


def test_a_list_is_left_alone():
    assert without_code([1, 2]) == [1, 2]


class Shadowed(OrderedDict):
    """A dict whose file asks for attributes in the place of its methods."""

    def __reduce__(self):
        state = dict(items='x', keys='x', copy='x', _metadata=self._metadata)
        return OrderedDict, (), state, None, iter(self.items())


@pytest.mark.parametrize('metadata', [None, 'x', {'': dict(version='x')}])
def test_a_file_cannot_put_anything_in_the_place_of_methods(metadata, tmp_path):
    net = nn.BatchNorm1d(2)
    state = Shadowed(net.state_dict())
    state._metadata = metadata or net.state_dict()._metadata
    state['weight'].dim = state['weight'].copy_ = 'x'
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    load_checkpoint(nn.BatchNorm1d(2), str(tmp_path / 'a.pth'), strict=True)
    loaded = read_checkpoint(str(tmp_path / 'a.pth'))['state_dict']
    assert loaded.keys() == net.state_dict().keys()
    if metadata is None:
        assert loaded._metadata == net.state_dict()._metadata
