"""A real Runner that trains in a second, for the checkpoints that it writes and resumes from."""

import itertools

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from torch import nn

_RUN = itertools.count()


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    def forward(self, inputs, mode='loss'):
        y = self.net(torch.stack(inputs))
        return dict(loss=y.pow(2).sum()) if mode == 'loss' else [y]


class Data(BaseDataset):
    METAINFO = dict(classes=('a', 'b'))

    def load_data_list(self):
        return [dict(inputs=torch.randn(2)) for _ in range(4)]


class Score(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(score=np.float64(0.5), half=np.float32(0.25))


def config(folder, param_scheduler=None, **changes):
    """Arguments of a Runner of two epochs that keeps its best checkpoint."""
    pipeline = [lambda sample: dict(inputs=sample['inputs'])]
    data = Data(metainfo=ConfigDict(nested=ConfigDict(a=1)), pipeline=pipeline)
    loader = dict(
        batch_size=2,
        dataset=data,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    return dict(
        model=Model(),
        work_dir=str(folder),
        # Runners of one name and second would share their log.
        experiment_name=f'{folder.name} {next(_RUN)}',
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=Evaluator(Score(prefix='numpy')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=param_scheduler,
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, save_best='numpy/score', rule='greater'
            )
        ),
        **changes,
    )
