"""What is wrong with a config is found before anything long is built."""

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OneCycleLR

from mmblocks.engine import UserError, build_runner, prepare
from mmblocks.engine.data import check_data
from mmblocks.engine.launch import start_process_group
from tests.engine.tiny_run import CONFIG, write_workspace


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = write_workspace(tmp_path / 'workspace')
    monkeypatch.chdir(folder)
    return folder


def config(**changes):
    cfg = Config.fromstring(CONFIG, '.py')
    cfg.merge_from_dict({key.replace('__', '.'): value for key, value in changes.items()})
    return cfg


def refusal(cfg, task='train'):
    with pytest.raises(UserError) as caught:
        build_runner(cfg, task)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_prepare_leaves_the_config_alone():
    cfg = config()
    before = cfg.pretty_text
    prepared = prepare(cfg, work_dir='elsewhere', amp=True, launcher='none', resume='a.pth')
    assert cfg.pretty_text == before
    assert (prepared.work_dir, prepared.resume, prepared.load_from) == ('elsewhere', True, 'a.pth')


def test_the_work_folder_is_named_after_the_config(folder):
    assert prepare(Config.fromfile('tiny.py')).work_dir == 'work_dirs/tiny'
    assert prepare(config(work_dir='mine')).work_dir == 'mine'


@pytest.mark.parametrize(
    ('task', 'part'),
    [('train', 'optim_wrapper'), ('train', 'train_dataloader'), ('test', 'test_evaluator')],
)
def test_a_missing_part_is_named(task, part, folder):
    cfg = config()
    cfg.pop(part)
    assert refusal(cfg, task) == f'the config has no {part}, so there is nothing to {task}'


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(train_dataloader__dataset__ann_file='gone.json'), 'annotation file not found: data/'),
        (dict(val_dataloader__dataset__ann_file='gone.json'), '(val_dataloader.dataset.ann_file'),
        (dict(val_evaluator__ann_file='gone.json'), '(val_evaluator.ann_file, looked for from /'),
        (dict(train_dataloader__dataset__data_prefix__img='gone/'), 'image folder not found: data'),
        (dict(train_dataloader__dataset__data_root='data/digits/'), 'tools/make_digits.py'),
    ],
)
def test_missing_data_is_named(changes, expected, folder):
    assert expected in refusal(config(**changes))


def test_missing_data_inside_dataset_wrappers_is_named(folder):
    cfg = config(train_dataloader__dataset__ann_file='gone.json')
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[inner])
    )
    assert '(train_dataloader.dataset.dataset.datasets[0].ann_file' in refusal(cfg)


def test_data_of_the_other_task_or_elsewhere_is_not_looked_for(folder):
    check_data(config(train_dataloader__dataset__ann_file='gone.json'), 'test')
    check_data(config(train_dataloader__dataset__data_root='s3://bucket'), 'train')
    cfg = config(train_dataloader__dataset__ann_file='gone.json')
    cfg.train_dataloader.dataset.backend_args = dict(backend='petrel')
    check_data(cfg, 'train')


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(model__neck__type='FPM'), 'type=FPM is not in the mmdet registry of models'),
        (dict(model__neck__extra=1), "FPN.__init__() got an unexpected keyword argument 'extra'"),
        (dict(load_from='gone.pth'), 'checkpoint not found: gone.pth'),
        (dict(load_from='gone.pth', resume=True), 'checkpoint not found: gone.pth'),
    ],
)
def test_what_cannot_be_built_is_named(changes, expected, folder):
    assert expected in refusal(prepare(config(**changes), work_dir='work'))


def test_a_checkpoint_that_is_gone_is_named_with_what_names_it(folder):
    Path('work').mkdir()
    Path('work', 'last_checkpoint').write_text('/gone/epoch_1.pth')
    with pytest.raises(UserError, match=r'/gone/epoch_1\.pth, named by work/last_checkpoint'):
        prepare(config(), work_dir='work', resume='auto')


def test_without_a_checkpoint_resuming_starts_as_the_config_says(folder, capsys):
    cfg = prepare(config(load_from='a.pth'), work_dir='work', resume='auto')
    assert (cfg.resume, cfg.load_from) == (False, 'a.pth')
    cfg = prepare(config(), work_dir='work', resume='auto')
    assert cfg.resume is False
    assert capsys.readouterr().err.splitlines() == [
        'no checkpoint to resume from in work: starting from load_from=a.pth',
        'no checkpoint to resume from in work: starting from scratch',
    ]


def test_scaling_the_learning_rate_needs_the_batch_size_it_is_for(capsys):
    with pytest.raises(UserError, match=r'auto_scale_lr\.enable'):
        prepare(config(), auto_scale_lr=True)
    scale = dict(enable=False, base_batch_size=16)
    cfg = config(auto_scale_lr=scale, param_scheduler=[dict(type='CosineAnnealingLR')])
    assert prepare(cfg, auto_scale_lr=True).auto_scale_lr.enable is True
    assert capsys.readouterr().err == ''
    for kind in ('OneCycleLR', OneCycleLR):  # a class is what pure-Python configs have
        cfg = config(auto_scale_lr=scale, param_scheduler=[dict(type=kind)])
        prepare(cfg, auto_scale_lr=True)
        assert 'does not reach OneCycleLR' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('launcher', 'start', 'variable'),
    [
        ('pytorch', 'torchrun', 'RANK'),
        ('slurm', 'srun', 'SLURM_PROCID'),
        ('mpi', 'mpirun', 'OMPI_COMM_WORLD_RANK'),
    ],
)
def test_a_launcher_that_did_not_start_the_process_is_named(launcher, start, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UserError, match=f'needs {start}, which sets {variable};'):
        start_process_group(config(launcher=launcher))


def test_several_processes_without_a_launcher_are_refused(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setenv('LOCAL_RANK', '0')
    with pytest.raises(UserError, match='give --launcher pytorch'):
        start_process_group(config())


def test_the_variables_of_mpi_become_those_of_torch(monkeypatch):
    ours = {'RANK': '0', 'SIZE': '1', 'LOCAL_RANK': '0', 'LOCAL_SIZE': '1'}
    with monkeypatch.context() as patch:
        for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
            patch.setenv(name, 'to be restored')
            os.environ.pop(name)
        for name, value in ours.items():
            patch.setenv(f'OMPI_COMM_WORLD_{name}', value)
        patch.setattr('mmblocks.engine.launch._start_gloo', lambda cfg: None)
        patch.setattr('mmblocks.engine.launch.get_device', lambda: 'cpu')
        cfg = config(launcher='mpi', model_wrapper_cfg=dict(type=MMDistributedDataParallel))
        start_process_group(cfg)
        assert cfg.model_wrapper_cfg.device_ids is None
        seen = [os.environ[name] for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR')]
    assert seen == ['0', '1', '0', '127.0.0.1']
