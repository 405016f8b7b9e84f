"""A small training with UnfreezeHook, in one process or, under torchrun, in several."""

import ast
import json
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmblocks  # noqa: F401 - registers what the config names
from mmblocks.engine.launch import end_process_group, start_process_group
from mmblocks.weights.safe_globals import allow_mmengine_checkpoints


@MODELS.register_module()
class UnfreezeModel(BaseModel):
    """A backbone under a linear classifier."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.fc = nn.Linear(self.backbone.out_channels[-1], 2)

    def forward(self, inputs, labels, mode='loss'):
        logits = self.fc(self.backbone(inputs)[-1].mean((2, 3)))
        if mode == 'predict':
            return [dict(right=right) for right in logits.argmax(1) == labels]
        return dict(loss=nn.functional.cross_entropy(logits, labels))


@DATASETS.register_module()
class NoisePictures(Dataset):
    """Eight pictures of noise in two classes."""

    metainfo = {}

    def __init__(self):
        self.pictures = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return dict(inputs=self.pictures[i], labels=i % 2)


@METRICS.register_module()
class ShareOfRight(BaseMetric):
    """How many pictures are put into their class."""

    def process(self, data_batch, data_samples):
        self.results += [sample['right'] for sample in data_samples]

    def compute_metrics(self, results):
        return dict(right=float(torch.stack(results).float().mean()))


@HOOKS.register_module()
class StopHook(Hook):
    """Ends the training after some epochs, as one that is broken off."""

    def __init__(self, epochs):
        self.epochs = epochs

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = runner.epoch + 1 == self.epochs


@HOOKS.register_module()
class RecordMovesHook(Hook):
    """Notes after each epoch which groups moved in it, and whether all processes agree."""

    def __init__(self, path):
        self.path = Path(path)

    def _groups(self, runner):
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        names = ('conv1', 'layer1', 'layer2', 'layer3', 'layer4')
        return {
            name: nn.utils.parameters_to_vector(getattr(model.backbone, name).parameters())
            .detach()
            .clone()
            for name in names
        }

    def before_train_epoch(self, runner):
        self.before = self._groups(runner)

    def after_train_epoch(self, runner):
        after = self._groups(runner)
        moved = [name for name in after if not torch.equal(after[name], self.before[name])]
        everything = torch.cat(list(after.values()))
        same = True
        if torch.distributed.is_initialized():
            first = everything.clone()
            torch.distributed.broadcast(first, 0)
            same = torch.equal(first, everything)
        if runner.rank == 0:
            rates = sorted({group['lr'] for group in runner.optim_wrapper.param_groups})
            with self.path.open('a') as file:
                line = dict(epoch=runner.epoch, moved=moved, same=same, lr=rates)
                file.write(json.dumps(line) + '\n')


def config(work_dir, schedule, launcher='none', epochs=4, **options):
    """The training's config; ``options`` go over it."""
    dataloader = dict(
        dataset=dict(type='NoisePictures'),
        collate_fn=dict(type='default_collate'),
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    return Config(
        dict(
            model=dict(
                type='UnfreezeModel',
                backbone=dict(type='mmblocks.ResNet', depth=18, base_channels=8, norm_eval=False)
                | options.pop('backbone', {}),
            ),
            work_dir=str(work_dir),
            train_dataloader=dataloader,
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            # Each epoch ends in eval mode, from which the hook freezes or thaws for the next one.
            val_dataloader=dataloader,
            val_cfg=dict(),
            val_evaluator=dict(type='ShareOfRight'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.1))
            | options.pop('optim_wrapper', {}),
            param_scheduler=dict(type='MultiStepLR', milestones=[2], gamma=0.1),
            custom_hooks=[
                dict(type='UnfreezeHook', schedule=schedule, **options.pop('hook', {})),
                dict(type='RecordMovesHook', path=str(Path(work_dir, 'moves.jsonl'))),
                *options.pop('hooks', ()),
            ],
            launcher=launcher,
            randomness=dict(seed=0),
        )
        | options
    )


def run(cfg):
    """Trains; gives the runner."""
    allow_mmengine_checkpoints()
    start_process_group(cfg)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def threads():
    """The names of the threads of this process, where the system tells."""
    return [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]


if __name__ == '__main__':
    folder, schedule, backbone = sys.argv[1], *map(ast.literal_eval, sys.argv[2:])
    run(config(folder, schedule, epochs=8, backbone=backbone, launcher='pytorch'))
    end_process_group()
    assert not [name for name in threads() if 'gloo' in name]
