"""UnfreezeHook in real trainings."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import HOOKS, OPTIM_WRAPPER_CONSTRUCTORS

import mmblocks
from mmblocks import UnfreezeHook
from tests.hooks.unfreeze_run import config, run

EVERYTHING = ['conv1', 'layer1', 'layer2', 'layer3', 'layer4']
SCHEDULE = {0: 4, 1: 2, 3: -1}
MOVED = [[], ['layer3', 'layer4'], ['layer3', 'layer4'], EVERYTHING]


def moves(work_dir):
    lines = [json.loads(line) for line in Path(work_dir, 'moves.jsonl').read_text().splitlines()]
    assert all(line['same'] for line in lines)
    return [line['moved'] for line in lines]


def test_parameters_move_from_their_epoch_on_and_not_before(tmp_path):
    runner = run(config(tmp_path, SCHEDULE))
    assert moves(tmp_path) == MOVED
    assert runner.model.backbone.frozen_stages == -1
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'frozen are stem, layer1, layer2, layer3, layer4; 0 of ' in log
    assert 'frozen are no groups; ' in log


def test_what_is_unfrozen_joins_at_the_rate_of_the_moment(tmp_path):
    run(config(tmp_path, SCHEDULE))
    rates = [json.loads(line)['lr'] for line in (tmp_path / 'moves.jsonl').open()]
    assert rates == [[0.01], [0.01], [pytest.approx(0.001)], [pytest.approx(0.001)]]


def test_a_backbone_that_starts_frozen_is_unfrozen_too(tmp_path):
    run(config(tmp_path, {1: 0}, epochs=2, backbone=dict(frozen_stages=3)))
    assert moves(tmp_path) == [['layer4'], EVERYTHING[1:]]


@pytest.mark.parametrize('stop', [1, 2])
def test_resuming_takes_up_the_state_of_its_epoch(stop, tmp_path):
    run(config(tmp_path, SCHEDULE, hooks=[dict(type='StopHook', epochs=stop)]))
    run(config(tmp_path, SCHEDULE, resume=True))
    assert moves(tmp_path) == MOVED


def test_iterations_can_be_counted_instead(tmp_path):
    run(config(tmp_path, {0: 4, 4: 3, 8: -1}, epochs=3, hook=dict(by_epoch=False)))
    assert moves(tmp_path) == [[], ['layer4'], EVERYTHING]


def test_two_processes_unfreeze_and_freeze_together_and_stay_equal(tmp_path):
    # The documentation's own schedule, and beyond it back to frozen.
    page = (Path(__file__).parents[2] / 'docs' / 'freeze.md').read_text()
    schedule = ast.literal_eval(re.search(r"'UnfreezeHook', schedule=(\{.*?\})", page)[1])
    assert schedule == {0: 4, 3: 2, 6: -1}
    schedule[7] = 3
    script = Path(__file__).with_name('unfreeze_run.py')
    command = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', str(script)]
    result = subprocess.run(
        [sys.executable, *command, str(tmp_path), str(schedule), str(dict(with_cp=True))],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert moves(tmp_path) == [
        *[[]] * 3,
        *[['layer3', 'layer4']] * 3,
        EVERYTHING,
        ['layer4'],
    ]
    # Frozen at first as it was drawn, and at last as it was trained.
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert log.count('stays random') == 1


def test_norms_that_the_config_holds_back_stay_held_back():
    net = mmblocks.ResNet(18, base_channels=8, norm_cfg=dict(type='BN', requires_grad=False))
    net.set_frozen_stages(4)
    net.set_frozen_stages(0)
    for name, parameter in net.named_parameters():
        is_norm = 'bn' in name or 'downsample.1' in name
        assert parameter.requires_grad == (not is_norm and name != 'conv1.weight'), name


def test_a_change_out_of_range_changes_nothing():
    net = mmblocks.ResNet(18, base_channels=8, frozen_stages=1)
    with pytest.raises(ValueError, match='frozen_stages=5'):
        net.set_frozen_stages(5)
    del net.layer3
    with pytest.raises(AttributeError, match='layer3'):
        net.set_frozen_stages(4)
    assert net.frozen_stages == 1
    assert not net.layer1[0].conv1.weight.requires_grad
    assert net.layer2[0].conv1.weight.requires_grad


@pytest.mark.parametrize(
    ('schedule', 'options', 'error', 'message'),
    [
        ({0: 9}, {}, ValueError, 'frozen_stages=9'),
        ({0: 1, 4: 2, 9: -1}, {}, ValueError, r'never reaches 4, 9; it has 4 epochs'),
        (
            {0: 1, 16: 2},
            dict(hook=dict(by_epoch=False)),
            ValueError,
            r'never reaches 16; it has 16 iterations',
        ),
        (
            {0: 1},
            dict(train_cfg=dict(by_epoch=False, max_iters=4)),
            ValueError,
            r'by_epoch=True .*\{0: 1\}.*no epochs \(IterBasedTrainLoop\)',
        ),
        (
            {0: 1},
            dict(optim_wrapper=dict(constructor='HeadOnlyConstructor')),
            ValueError,
            r'the optimizer lacks parameters of the backbone.*frozen_stages=-1',
        ),
        ({0: 1}, dict(hook=dict(module='fc')), TypeError, "module='fc'.*Linear"),
        ({0: 1}, dict(hook=dict(module='body')), TypeError, "module='body'"),
        (
            {1: -1},
            dict(
                backbone=dict(frozen_stages=2),
                optim_wrapper=dict(paramwise_cfg=dict(norm_decay_mult=0.0)),
            ),
            ValueError,
            r'paramwise_cfg.*frozen_stages=-1 .* 0: 2',
        ),
    ],
)
def test_what_cannot_work_is_said_before_training(schedule, options, error, message, tmp_path):
    @OPTIM_WRAPPER_CONSTRUCTORS.register_module(force=True)
    class HeadOnlyConstructor(DefaultOptimWrapperConstructor):
        def __call__(self, model):
            return super().__call__(model.fc)

    with pytest.raises(error, match=message):
        run(config(tmp_path, schedule, **options))
    assert not (tmp_path / 'moves.jsonl').exists()


def test_paramwise_settings_reach_what_is_unfrozen_later(tmp_path):
    @HOOKS.register_module(force=True)
    class SeeGroupsHook(Hook):
        def after_train(self, runner):
            decays = {
                id(p): group['weight_decay']
                for group in runner.optim_wrapper.param_groups
                for p in group['params']
            }
            bn = runner.model.backbone.bn1
            assert decays[id(bn.weight)] == 0
            assert decays[id(runner.model.backbone.conv1.weight)] == 0.1

    optim_wrapper = dict(
        optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1),
        paramwise_cfg=dict(norm_decay_mult=0.0),
    )
    cfg = config(tmp_path, {0: 4, 1: -1}, epochs=2, optim_wrapper=optim_wrapper)
    cfg.custom_hooks.append(dict(type='SeeGroupsHook'))
    run(cfg)
    assert moves(tmp_path) == [[], EVERYTHING]


@pytest.mark.parametrize('wrong', [{}, {-1: 0}, {'0': 1}, {0: '1'}, {0: True}, {0.5: 1}])
def test_a_schedule_that_is_none_is_named(wrong):
    with pytest.raises(ValueError, match='schedule='):
        UnfreezeHook(wrong)


def test_freezing_makes_the_gradients_go():
    net = mmblocks.ResNet(18, base_channels=8, norm_eval=False)
    net(torch.rand(2, 3, 32, 32))[-1].sum().backward()
    net.set_frozen_stages(2)
    assert net.layer2[0].conv1.weight.grad is None
    assert net.layer3[0].conv1.weight.grad is not None
