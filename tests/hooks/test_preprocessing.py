"""CheckPreprocessingHook in real trainings."""

import itertools
from pathlib import Path

import pytest
import torch
from mmdet.models.data_preprocessors import MultiBranchDataPreprocessor
from mmengine.config import Config
from mmengine.model import BaseModel, MMDistributedDataParallel, ModuleList
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch.utils.data import Dataset

import mmblocks
from mmblocks.engine import build_runner, end_process_group, prepare
from mmblocks.engine.launch import start_process_group
from mmblocks.weights.files import cache_path
from mmblocks.weights.preprocessing import CAFFE, IMAGENET, IMAGENET_BGR
from tests.engine.tiny_run import CONFIG, tool, write_workspace

OPENMMLAB = 'https://download.openmmlab.com/mmclassification/v0'
# As mmpretrain names its files, but with a name that promises no hash.
RGB, BGR = (f'{OPENMMLAB}/{family}/{family}_test.pth' for family in ('resnet', 'regnet'))
# The names that set two runners of one second apart.
NAMES = map(str, itertools.count())
RESNET = dict(type='mmblocks.ResNet', depth=18, base_channels=8, norm_eval=False)


@pytest.fixture(autouse=True)
def cached_downloads(tmp_path, monkeypatch):
    """Weights in torch's cache, where a download would have put them."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    for address in (RGB, BGR):
        net = mmblocks.ResNet(**{k: v for k, v in RESNET.items() if k != 'type'})
        cache_path(address).parent.mkdir(parents=True)
        torch.save(net.state_dict(), cache_path(address))
    torch.save(net.state_dict(), tmp_path / 'mine.pth')


@MODELS.register_module()
class PreprocessingModel(BaseModel):
    """A model whose loss is of its backbones' last maps."""

    def __init__(self, backbone, data_preprocessor=None, others=()):
        super().__init__(data_preprocessor)
        self.backbones = ModuleList(map(MODELS.build, [backbone, *others]))

    def forward(self, inputs, data_samples=None, mode='loss'):
        inputs = inputs['all'] if isinstance(inputs, dict) else inputs
        if isinstance(inputs, list):
            inputs = torch.stack(inputs).float()
        return dict(loss=sum(net(inputs)[-1].square().mean() for net in self.backbones))


@DATASETS.register_module()
class BytePictures(Dataset):
    """Two pictures of noise as an image loader gives them."""

    metainfo = {}

    def __init__(self, channels=3, branch=None, pipeline=()):
        self.channels, self.branch = channels, branch

    def __len__(self):
        return 2

    def __getitem__(self, i):
        picture = torch.randint(0, 256, (self.channels, 32, 32), dtype=torch.uint8)
        if self.branch:
            return dict(inputs={self.branch: picture}, data_samples={self.branch: None})
        return dict(inputs=picture)


def config(work_dir, checkpoint=RGB, images=IMAGENET, dataset=(), **options):
    preprocessor = dict(type='ImgDataPreprocessor', **images.as_options())
    backbone = RESNET | dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    return Config(
        dict(
            model=dict(type='PreprocessingModel', backbone=backbone, data_preprocessor=preprocessor)
            | options.pop('model', {}),
            work_dir=str(work_dir),
            train_dataloader=dict(
                dataset=dict(type='BytePictures', **dict(dataset)),
                collate_fn=dict(type='pseudo_collate'),
                batch_size=2,
                sampler=dict(type='DefaultSampler', shuffle=False),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
            custom_hooks=[dict(type='CheckPreprocessingHook')],
            **options,
        )
    )


def train(cfg):
    """Trains; gives the runner and the warnings about images in its log."""
    start_process_group(cfg)
    cfg.experiment_name = next(NAMES)
    # Two trainings in one second log to the same folder.
    before = warnings_in(cfg.work_dir)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner, warnings_in(cfg.work_dir)[len(before) :]


def warnings_in(folder):
    logs = sorted(Path(folder).rglob('*.log'))
    lines = [line for log in logs for line in log.read_text().splitlines()]
    return [line for line in lines if 'WARNING' in line and 'expects images' in line]


def test_other_images_than_the_weights_expect_are_warned_of_once(tmp_path):
    _, (warning,) = train(config(tmp_path, RGB, CAFFE))
    assert warning.endswith(
        f'{RGB} expects images as RGB with mean 123.675, 116.28, 103.53 and std 58.395, 57.12, '
        '57.375, but the detector gives its backbone BGR with mean 103.53, 116.28, 123.675 and '
        'std 1: write model = dict(data_preprocessor=dict(mean=[123.675, 116.28, 103.53], '
        'std=[58.395, 57.12, 57.375], bgr_to_rgb=True))'
    )


def test_what_the_warning_says_to_write_ends_it(tmp_path):
    cfg = config(tmp_path / 'before', BGR)
    _, (warning,) = train(cfg)
    written = {}
    exec(warning.partition(': write ')[2], written)
    cfg.merge_from_dict(dict(model=written['model'], work_dir=str(tmp_path / 'after')))
    assert train(cfg)[1] == []


@pytest.mark.parametrize(
    'options',
    [
        dict(checkpoint=RGB, images=IMAGENET),
        dict(checkpoint=BGR, images=IMAGENET_BGR),
        dict(checkpoint='mine.pth', images=CAFFE),
        dict(model=dict(backbone=RESNET), images=CAFFE),
        # MMEngine's preprocessor that leaves the images as the pipeline gives them.
        dict(model=dict(data_preprocessor=dict(type='BaseDataPreprocessor'))),
        dict(images=CAFFE, dataset=dict(pipeline=[dict(type='mmcv.Normalize')])),
    ],
    ids=['rgb', 'bgr', 'unknown', 'from scratch', 'not said', 'in the pipeline'],
)
def test_what_agrees_or_is_not_known_is_not_warned_of(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner, warnings = train(config(tmp_path / 'work', **options))
    assert warnings == []
    (backbone,) = runner.model.backbones
    assert len(backbone.load_reports) == (backbone.init_cfg != backbone.default_init_cfg)


def test_images_that_are_not_normalised_are_warned_of(tmp_path):
    raw = dict(data_preprocessor=dict(type='ImgDataPreprocessor'))
    _, (warning,) = train(config(tmp_path, model=raw))
    assert 'gives its backbone BGR from 0 to 255: write' in warning


def test_grey_images_are_not_compared(tmp_path):
    backbone = RESNET | dict(
        in_channels=1,
        init_cfg=dict(type='Pretrained', checkpoint=RGB, adapt_input=True),
    )
    grey = dict(type='ImgDataPreprocessor', mean=[127.5], std=[127.5])
    model = dict(backbone=backbone, data_preprocessor=grey)
    assert train(config(tmp_path, model=model, dataset=dict(channels=1)))[1] == []


def test_replaced_weights_are_not_compared(tmp_path):
    train(config(tmp_path / 'first', images=CAFFE))
    checkpoint = str(tmp_path / 'first' / 'epoch_1.pth')
    loaded = config(tmp_path / 'second', images=CAFFE, load_from=checkpoint)
    assert train(loaded)[1] == []
    cfg = config(tmp_path / 'first', images=CAFFE, resume=True)
    cfg.train_cfg.max_epochs = 2
    resumed, warnings = train(cfg)
    assert (resumed.epoch, warnings) == (2, [])


def test_several_backbones_of_the_same_weights_are_warned_of_once(tmp_path):
    backbone = config(tmp_path).model.backbone
    _, (warning,) = train(config(tmp_path, images=CAFFE, model=dict(others=[backbone])))
    assert warning.count('expects images') == 1


def test_the_preprocessor_of_a_semi_supervised_detector_is_found(tmp_path, mmdet_models):
    inner = dict(type='mmdet.DetDataPreprocessor', **CAFFE.as_options())
    outer = dict(type='mmdet.MultiBranchDataPreprocessor', data_preprocessor=inner)
    model = dict(data_preprocessor=outer)
    cfg = config(tmp_path, model=model, dataset=dict(branch='all'))
    runner, (warning,) = train(cfg)
    assert isinstance(runner.model.data_preprocessor, MultiBranchDataPreprocessor)
    assert 'dict(data_preprocessor=dict(data_preprocessor=dict(mean=[123.675' in warning


def test_a_model_in_ddp_is_looked_into(tmp_path, monkeypatch):
    variables = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1')
    for name, value in dict(variables, MASTER_PORT='0').items():
        monkeypatch.setenv(name, value)
    try:
        runner, (_,) = train(config(tmp_path, images=CAFFE, launcher='pytorch'))
    finally:
        end_process_group()
    assert isinstance(runner.model, MMDistributedDataParallel)


def test_train_py_adds_the_hook_by_itself(tmp_path):
    folder = write_workspace(tmp_path / 'workspace')
    backbone = dict(
        RESNET,
        _delete_=True,
        out_indices=(1, 2, 3),
        zero_init_residual=False,
        init_cfg=dict(type='Pretrained', checkpoint=RGB),
    )
    (folder / 'ours.py').write_text(
        "_base_ = './tiny.py'\ncustom_imports = dict(imports=['mmblocks'])\n"
        f'model = dict(backbone={backbone})\ntrain_cfg = dict(max_epochs=1, val_interval=9)\n'
    )
    outcome = tool('train', 'ours.py', '--work-dir', 'work', folder=folder)
    assert outcome.code == 0, outcome.out[-3000:]
    assert len(warnings_in(folder / 'work')) == 1


@pytest.mark.parametrize(
    ('task', 'named', 'hooks'), [('train', False, 1), ('train', True, 1), ('test', False, 0)]
)
def test_the_hook_is_there_once(task, named, hooks, tmp_path, monkeypatch):
    monkeypatch.chdir(write_workspace(tmp_path / 'workspace'))
    cfg = Config.fromstring(CONFIG, '.py')
    if named:
        cfg.custom_hooks = [dict(type='CheckPreprocessingHook')]
    runner = build_runner(prepare(cfg, work_dir='work'), task)
    found = [h for h in runner.hooks if isinstance(h, mmblocks.CheckPreprocessingHook)]
    assert len(found) == hooks
