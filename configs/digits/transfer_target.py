# Fine-tuning for the transfer example: the digits 5 to 9, a tenth of the scenes. tools/transfer.py
# trains it from scratch and from the source's checkpoint, frozen at several depths.
_base_ = 'transfer_source.py'
data_root = 'data/digits_5-9/'
metainfo = dict(classes=('5', '6', '7', '8', '9'))
dataset = dict(data_root=data_root, metainfo=metainfo)
train_dataloader = dict(dataset=dataset)
val_dataloader = dict(dataset=dataset)
test_dataloader = dict(dataset=dataset)
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
# 16 epochs of 15 iterations.
train_cfg = dict(max_epochs=16, val_interval=16)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=30),
    dict(
        type='CosineAnnealingLR',
        by_epoch=True,
        begin=0,
        end=16,
        T_max=16,
        eta_min=0,
        convert_to_iter_based=True,
    ),
]
