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
