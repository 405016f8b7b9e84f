# LeNet-5 reads scikit-learn's handwritten digits: trained on the first half, tested on the
# second, which mostly other people wrote. About a minute on one core.
custom_imports = dict(imports=['mmblocks.digits'])
default_scope = 'mmengine'

model = dict(
    type='mmblocks.digits.BackboneClassifier',
    label_smoothing=0.1,
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[0.5], std=[0.5]),
    backbone=dict(type='mmblocks.LeNet5', num_classes=10),
)

train_dataloader = dict(
    batch_size=32,
    num_workers=0,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mmblocks.digits.HandwrittenDigits',
        split='train',
        max_angle=12,
        max_zoom=0.15,
        max_shift=0.08,
    ),
)
val_dataloader = dict(
    batch_size=100,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='mmblocks.digits.HandwrittenDigits', split='test'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmblocks.digits.Top1Accuracy')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=3e-3, weight_decay=0.5, fused=True)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=300),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=100,
        T_max=100,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=28),
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=1),
)
randomness = dict(seed=0)
