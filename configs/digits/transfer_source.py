# Pre-training for the transfer example: scenes of the digits 0 to 4.
_base_ = 'retinanet_ghostnet_fpn_digits.py'
data_root = 'data/digits_0-4/'
metainfo = dict(classes=('0', '1', '2', '3', '4'))
dataset = dict(data_root=data_root, metainfo=metainfo)
model = dict(bbox_head=dict(num_classes=5))
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
# 6 epochs of 150 iterations.
train_cfg = dict(max_epochs=6, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=6,
        T_max=6,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]
