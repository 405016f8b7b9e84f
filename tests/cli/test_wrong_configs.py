"""What is wrong with a config is said in one line that names it, before a training is lost."""

import pytest

from tests.engine.tiny_run import tool, write_workspace

# tiny.py with parts of mmblocks.
OURS = """
_base_ = './tiny.py'
custom_imports = dict(imports=['mmblocks'])
model = dict(
    backbone=dict(type='mmblocks.ResNet'),
    neck=dict(type='mmblocks.FPN'))
train_cfg = dict(max_epochs=1, val_interval=1)
param_scheduler = [dict(type='ConstantLR', factor=1.0, by_epoch=True)]
"""


def backbone(**options):
    return dict(model=dict(backbone=options))


def neck(**options):
    return dict(model=dict(neck=options))


def head(**options):
    return dict(model=dict(bbox_head=options))


def another(type, **options):
    return backbone(_delete_=True, type=type, **options)


def loader(**options):
    return dict(train_dataloader=options)


def dataset(**options):
    return loader(dataset=options)


def hook(type, **options):
    return dict(custom_hooks=[dict(type=type, **options)])


def plugin(**options):
    return backbone(plugins=[dict(dict(position='after_conv2'), **options)])


BACKBONE = 'model.backbone (mmblocks.ResNet): '
# What a config changes, and what the line must say.
WRONG = [
    # The nets.
    (backbone(depth=19), f'{BACKBONE}depth=19'),
    (backbone(depth='18'), f"{BACKBONE}depth='18'"),
    (backbone(frozen_stages=9), f'{BACKBONE}frozen_stages=9'),
    (backbone(out_indices=(1, 2, 9)), f'{BACKBONE}out_indices=(1, 2, 9)'),
    (backbone(out_indices=()), f'{BACKBONE}out_indices=()'),
    (backbone(style='tensorflow'), f"{BACKBONE}style='tensorflow'"),
    (backbone(num_stages=7), f'{BACKBONE}num_stages=7'),
    (backbone(deep_stemm=True), "unexpected keyword argument 'deep_stemm'"),
    (backbone(norm_cfg=dict(type='BNN')), 'BNN'),
    (backbone(norm_cfg=dict(requires_grad=True)), 'norm_cfg'),
    (backbone(conv_cfg=dict(type='Conv9d')), 'Conv9d'),
    (backbone(dcn=dict(type='DCNv2')), 'stage_with_dcn'),
    (backbone(init_cfg=dict(type='Pretrained', checkpoint='gone.pth')), 'gone.pth'),
    (backbone(init_cfg=dict(type='Pretrainde', checkpoint='gone.pth')), 'Pretrainde'),
    (backbone(init_cfg=dict(type='Pretrained')), 'checkpoint'),
    (backbone(pretrained=1), 'pretrained=1'),
    (plugin(cfg=dict(type='ContextBlok', ratio=0.25)), 'ContextBlok'),
    (plugin(cfg=dict(type='ContextBlock')), "'ratio'"),
    (plugin(cfg=dict(type='mmblocks.ECA'), position='after_conv9'), 'after_conv9'),
    (plugin(cfg=dict(type='mmblocks.ECA'), stages=(True,)), 'stages'),
    (backbone(plugins=dict(cfg=1)), 'plugins'),
    (backbone(type='mmblocks.ResNets'), 'type=mmblocks.ResNets is not in the mmdet registry'),
    (backbone(type='mmblocks.Resnet'), 'did you mean ResNet'),
    (another('mmblocks.MobileNetV3', arch='huge'), "arch='huge'"),
    (another('mmblocks.MobileNetV2', widen_factor=-1), 'widen_factor=-1'),
    (another('mmblocks.ShuffleNetV1', groups=7), 'groups=7'),
    (another('mmblocks.ShuffleNetV2', widen_factor=7), 'widen_factor=7'),
    (another('mmblocks.EfficientNet', arch='b77'), "arch='b77'"),
    (another('mmblocks.GhostNet', widen_factor=0), 'widen_factor=0'),
    (another('mmblocks.VGG', depth=12), 'depth=12'),
    (another('mmblocks.DenseNet', arch='122'), '122'),
    (another('mmblocks.InceptionNeXt', arch='nano'), 'nano'),
    # The neck.
    (neck(in_channels=[16, 32]), 'in_channels=[16, 32]'),
    (neck(in_channels=[16, 32, 65]), 'in_channels'),
    (neck(in_channels=16), 'model.neck (mmblocks.FPN): in_channels=16: must be'),
    (neck(type='FPN', in_channels=[16, 32, 65]), 'write in_channels=[16, 32, 64] in the neck'),
    (neck(num_outs=2), 'num_outs=2'),
    (neck(num_outs=4), 'model.neck.num_outs=4, but model.bbox_head.anchor_generator'),
    (neck(type='FPN', num_outs=4), 'model.neck.num_outs=4, but model.bbox_head.anchor_generator'),
    (neck(start_level=5), 'start_level'),
    (neck(add_extra_convs='on_top'), 'on_top'),
    (neck(top_block=dict(type='LastLevelP8')), 'LastLevelP8'),
    (neck(type='FPM'), 'type=FPM is not in the mmdet registry of models'),
    # The head.
    (head(num_classes=3), 'model.bbox_head.num_classes=3, but train_dataloader.dataset has 2'),
    (head(type='RetinaHeadd'), 'did you mean RetinaHead'),
    (head(loss_cls=dict(type='FocalLos')), 'did you mean FocalLoss'),
    (head(anchor_generator=dict(strides=[8, 16])), 'has 2 strides: [8, 16]'),
    (head(anchor_generator=dict(type='AnchorGen')), 'AnchorGen'),
    (dict(model=dict(train_cfg=dict(assigner=dict(type='MaxIoU')))), 'MaxIoU'),
    (dict(model=dict(test_cfg=None, extra=1)), "'extra'"),
    (dict(model=dict(type='RetinaNett')), 'did you mean RetinaNet'),
    (dict(model=dict(data_preprocessor=dict(type='DetPreprocessor'))), 'DetPreprocessor'),
    (dict(model=dict(data_preprocessor=dict(mean=[0.0, 0.0]))), 'mean'),
    # The data.
    (dataset(type='CocoDatset'), 'did you mean CocoDataset'),
    (dataset(ann_file='gone.json'), 'annotation file not found: data/gone.json'),
    (dataset(data_prefix=dict(img='gone/')), 'image folder not found: data/gone'),
    (dataset(metainfo=dict(classes=('red', 'blue'))), 'has no category blue'),
    (dataset(metainfo=dict(classes=('green', 'red'))), "write classes=('red', 'green')"),
    (dataset(metainfo=dict(classes='red')), "metainfo.classes='red'"),
    (
        dataset(metainfo=dict(_delete_=True, CLASSES=('red', 'green'))),
        'has 80 classes: person',
    ),
    (dataset(filter_cfg=dict(min_size=1000)), 'nothing is left of data/annotations.json'),
    (dataset(pipeline=[dict(type='LoadImage')]), 'LoadImage'),
    (dataset(pipeline=[dict(type='LoadImageFromFile', colour=1)]), "'colour'"),
    (dataset(pipeline=[dict(type='Resize')]), 'scale'),
    (loader(batch_size=0), 'batch_size'),
    (loader(batch_size='two'), 'batch_size'),
    (loader(num_workers=-1), 'num_workers'),
    (loader(sampler=dict(type='DefaultSamplr')), 'did you mean DefaultSampler'),
    (loader(sampler=dict(shufle=True)), "'shufle'"),
    (loader(batch_sampler=dict(type='AspectRatio')), 'AspectRatio'),
    (loader(collate_fn=dict(type='psuedo_collate')), 'psuedo_collate'),
    (loader(persistent_workers=True), 'persistent_workers'),
    # How it is trained.
    (
        dict(optim_wrapper=dict(optimizer=dict(type='AdamWW'))),
        'type=AdamWW is not in the mmdet registry of optimizers; did you mean AdamW',
    ),
    (dict(optim_wrapper=dict(optimizer=dict(lrr=1.0))), "'lrr'"),
    (dict(optim_wrapper=dict(optimizer=dict(lr=-1.0))), 'learning rate: -1.0'),
    (dict(optim_wrapper=dict(type='OptimWraper')), 'did you mean OptimWrapper'),
    (dict(optim_wrapper=dict(clip_grad=5)), 'clip_grad'),
    (dict(optim_wrapper=dict(constructor='Decay')), 'Decay'),
    (dict(param_scheduler=[dict(type='StepLRR')]), 'StepLRR'),
    (dict(param_scheduler=[dict(type='MultiStepLR')]), "'milestones'"),
    (dict(train_cfg=dict(type='EpochLoop')), 'EpochLoop'),
    (dict(train_cfg=dict(max_epoch=1)), "'max_epoch'"),
    (dict(train_cfg=dict(val_interval=0)), 'train_cfg.val_interval=0: must be 1 or more'),
    (dict(val_cfg=None), 'val_dataloader'),
    # Hooks and metrics.
    (hook('UnfreezHook', schedule={0: 1}), 'did you mean UnfreezeHook'),
    (hook('UnfreezeHook', schedule={}), 'custom_hooks.0 (UnfreezeHook): schedule={}'),
    (hook('UnfreezeHook', schedule={0: 99}), '99'),
    (hook('UnfreezeHook', schedule={0: 1}, module='neck'), "module='neck'"),
    (hook('EMAHook', momentum=7.0), 'momentum'),
    (dict(default_hooks=dict(checkpoint=dict(interval=0))), 'default_hooks.checkpoint.interval=0'),
    (dict(default_hooks=dict(logger=dict(type='LogHook'))), 'LogHook'),
    (dict(default_hooks=dict(checkpoint=dict(save_best='mAPP'))), 'mAPP'),
    (
        dict(default_hooks=dict(checkpoint=dict(save_best='coco/bbox_mAPP', rule='greater'))),
        "save_best='coco/bbox_mAPP': the validation gives coco/bbox_mAP, ",
    ),
    (dict(val_evaluator=dict(type='CocoMetrics')), 'did you mean CocoMetric'),
    (dict(val_evaluator=dict(metric='mAP')), 'mAP'),
    (dict(visualizer=dict(type='DetVisualizer')), 'DetVisualizer'),
    (dict(default_scope='mmengine registry'), 'mmengine registry'),
    (dict(log_level='LOUD'), 'LOUD'),
    (dict(env_cfg=dict(mp_cfg=dict(mp_start_method='spoon'))), 'spoon'),
    (dict(randomness=dict(sed=0)), "'sed'"),
    (dict(load_from='gone.pth'), 'checkpoint not found: gone.pth'),
]


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    folder = write_workspace(tmp_path_factory.mktemp('wrong') / 'workspace')
    (folder / 'ours.py').write_text(OURS)
    return folder


def said(outcome):
    """The one line that a tool gave up with."""
    assert outcome.code == 2, outcome.out[-3000:]
    assert 'Traceback' not in outcome.out
    *_, last = outcome.err.splitlines()
    assert last == outcome.last_error
    assert outcome.err.count('error: ') == 1
    return last.split('error: ')[1]


@pytest.mark.parametrize(
    ('changes', 'expected'),
    WRONG,
    ids=[f'{i}-{expected[-24:]}' for i, (_, expected) in enumerate(WRONG)],
)
def test_what_is_wrong_with_a_config_is_named(changes, expected, workspace):
    lines = [f'{key} = {value!r}' for key, value in changes.items()]
    (workspace / 'wrong.py').write_text('\n'.join(["_base_ = './ours.py'", *lines]))
    assert expected in said(tool('train', 'wrong.py', folder=workspace))
