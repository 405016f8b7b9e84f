"""What a test can do beside computing metrics: draw predictions, augment the images."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS

from mmblocks.engine.data import class_of
from mmblocks.utils.errors import UserError, note


def draw_predictions(
    cfg: Config, show: bool = False, show_dir: str | None = None, wait_time: float = 2
) -> None:
    """Makes mmdet's visualization hook draw every test image.

    Args:
        cfg: The config, changed in place.
        show: Whether to show them in a window.
        show_dir: Folder to write them to, in ``<work dir>/<time>``.
        wait_time: Seconds that the window shows an image.

    Raises:
        UserError: The config has no such hook, and its model is no detector of mmdet.

    Example:
        >>> cfg = Config(dict(model=dict(type='mmdet.RetinaNet'), work_dir='work_dirs'))
        >>> draw_predictions(cfg, show=True)
        >>> cfg.default_hooks.visualization
        {'type': 'mmdet.DetVisualizationHook', 'draw': True, 'show': True, 'wait_time': 2}
    """
    if 'visualization' not in (cfg.get('default_hooks') or {}):
        _check_detector(cfg, '--show-dir' if show_dir else '--show')
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hook = hooks.setdefault('visualization', ConfigDict(type='mmdet.DetVisualizationHook'))
    hook.update(draw=True)
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir:
        hook.update(test_out_dir=show_dir)
        note(f'pictures go to {Path(cfg.work_dir, "<time>", show_dir)}')
    if cfg.get('visualizer') is None:  # MMEngine's own draws no boxes
        cfg.visualizer = dict(type='mmdet.DetLocalVisualizer', name='visualizer')


def augment_tests(cfg: Config) -> None:
    """Wraps the model for test-time augmentation, as the config says or with flips.

    Args:
        cfg: The config, changed in place.

    Raises:
        UserError: The config does not say how, and its model is no detector of mmdet.
    """
    if cfg.get('tta_model') is None or cfg.get('tta_pipeline') is None:
        _check_detector(cfg, '--tta')
    nms = dict(type='nms', iou_threshold=0.5)
    default = dict(type='DetTTAModel', tta_cfg=dict(nms=nms, max_per_img=100))
    tta_model = cfg.get('tta_model') or default
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if cfg.get('tta_pipeline') is None:
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
        pack = dict(type='PackDetInputs', meta_keys=(*keys, 'flip', 'flip_direction'))
        flips = [dict(type='RandomFlip', prob=p) for p in (1.0, 0.0)]
        flip = dict(type='TestTimeAug', transforms=[flips, [pack]])
        cfg.tta_pipeline = [*dataset.pipeline[:-1], flip]
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**tta_model, module=cfg.model)


def speed_up_tests(cfg: Config) -> None:
    """Has the model tested in its inference form.

    Args:
        cfg: The config, changed in place.
    """
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='mmblocks.ToInferenceHook')]


def _check_detector(cfg: Config, flag: str) -> None:
    """Raises unless the model is a detector of mmdet, which alone has parts for these options."""
    kind = class_of(cfg.model, MODELS, cfg)
    if kind is not None and not any(base.__name__ == 'BaseDetector' for base in kind.__mro__):
        raise UserError(f'{flag} is for detectors of mmdet; the model is a {kind.__name__}')
