"""The detector of a config with the weights of a checkpoint, as export wants it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import ImgDataPreprocessor
from mmengine.registry import MODELS
from torch import nn

from mmblocks.engine.data import classes_of, datasets, scope_of
from mmblocks.engine.explain import explain
from mmblocks.utils.errors import UserError
from mmblocks.weights.files import extract_state_dict, read_checkpoint
from mmblocks.weights.filling import load_weights

MAX_PER_IMG = 100


def set_limits(cfg: Config, max_per_img: int | None, score_thr: float | None) -> None:
    """Puts into a config how many detections an image has and what score they have at least.

    Args:
        cfg: The config, changed in place.
        max_per_img: Detections of an image at most; None leaves what the config says.
        score_thr: Their least score; None likewise.

    Raises:
        UserError: A value is out of range, or the detector has no threshold.

    Example:
        >>> cfg = Config(dict(model=dict(test_cfg=dict(score_thr=0.05, max_per_img=100))))
        >>> set_limits(cfg, 20, None)
        >>> limits(cfg)
        (20, 0.05)
    """
    test_cfg = _test_cfg(cfg)
    if max_per_img is not None:
        if max_per_img < 1:
            raise UserError(f'--max-per-img {max_per_img}: must be at least 1')
        test_cfg['max_per_img'] = max_per_img
    if score_thr is not None:
        if 'score_thr' not in test_cfg:
            raise UserError(f'--score-thr: {cfg.model.type} has no score_thr in its test_cfg')
        if not 0 <= score_thr < 1:
            raise UserError(f'--score-thr {score_thr}: must be from 0 to below 1')
        test_cfg['score_thr'] = score_thr


def limits(cfg: Config) -> tuple[int, float]:
    """Returns how many detections an image has at most, and what score they have at least.

    Args:
        cfg: The config.
    """
    test_cfg = _test_cfg(cfg)
    return test_cfg.get('max_per_img', MAX_PER_IMG), test_cfg.get('score_thr', 0.0)


def load_detector(cfg: Config, checkpoint: str) -> nn.Module:
    """Builds the detector of a config and fills it with the weights of a checkpoint.

    Args:
        cfg: The config.
        checkpoint: Path or address of the checkpoint.

    Returns:
        The detector, in eval mode.

    Raises:
        UserError: It cannot be built, it is no detector of mmdet, or the checkpoint does not fit.
    """
    from mmdet.models.detectors import BaseDetector
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    state_dict = extract_state_dict(read_checkpoint(checkpoint), checkpoint)
    name = cfg.model.type
    try:
        with scope_of(cfg):
            model = MODELS.build(cfg.model)
    except Exception as error:
        raise UserError(f'model: {explain(error) or error}') from error
    if not isinstance(model, BaseDetector):
        raise UserError(f'{name} is no detector of mmdet: there is nothing to export')
    if not isinstance(model.data_preprocessor, ImgDataPreprocessor):
        kind = type(model.data_preprocessor).__name__
        raise UserError(f'data_preprocessor={kind}: export takes DetDataPreprocessor')
    report = load_weights(model, state_dict, checkpoint, cfg.get('allow_nonfinite', False))
    if not report.is_full:
        raise UserError(f'{checkpoint} does not fit {name}: {report.in_one_line}')
    mend_ssd(model)
    return model.eval()


def mend_ssd(model: nn.Module) -> None:
    """Gives mmdet's ``SSDHead`` the ``loss_cls`` that mmdet 3.3.0 asks for at each prediction.

    Args:
        model: The detector, which is changed where it has such a head without one.
    """
    from mmdet.models.dense_heads import SSDHead

    for module in model.modules():
        if isinstance(module, SSDHead) and not hasattr(module, 'loss_cls'):
            module.register_module('loss_cls', None)


def image_size(cfg: Config, model: nn.Module, size: Sequence[int] | None) -> tuple[int, int]:
    """Returns height and width of the images of the exported file.

    Args:
        cfg: The config.
        model: The detector.
        size: What the user asks for; None takes that of the config's test images.

    Raises:
        UserError: The size is not positive, or neither says one.
    """
    if size is None:
        scale = _test_scale(cfg)
        if scale is None:
            raise UserError('the config has no Resize with one scale in its test_pipeline: '
                            'give --size H W')  # fmt: skip
        preprocessor: Any = model.data_preprocessor
        divisor = int(preprocessor.pad_size_divisor)
        height, width = (-(-pixels // divisor) * divisor for pixels in scale[::-1])
    else:
        height, width = size
    if min(height, width) < 1:
        raise UserError(f'--size {height} {width}: must be positive')
    return height, width


def class_names(cfg: Config) -> tuple[str, ...]:
    """Returns the names of the classes of a config's test set; none if they are not known.

    Args:
        cfg: The config.
    """
    for _, dataset in datasets(cfg.get('test_dataloader'), 'test_dataloader'):
        if names := classes_of(dataset, cfg):
            return names
    return ()


def pad_color(model: nn.Module) -> tuple[float, ...]:
    """Returns the colour that becomes the padding of the detector's preprocessor, BGR.

    Args:
        model: The detector.
    """
    preprocessor: Any = model.data_preprocessor
    value = torch.full((3, 1, 1), float(preprocessor.pad_value))
    if preprocessor._enable_normalize:
        value = value * preprocessor.std.cpu() + preprocessor.mean.cpu()
    if preprocessor._channel_conversion:
        value = value.flip(0)
    return tuple(round(x, 4) for x in value.flatten().tolist())


def _test_cfg(cfg: Config) -> Any:
    """The test config of the last stage."""
    test_cfg = cfg.model.get('test_cfg')
    if test_cfg is None:
        cfg.model.test_cfg = {}
        test_cfg = cfg.model.test_cfg
    return test_cfg.get('rcnn') or test_cfg


def _test_scale(cfg: Config) -> tuple[int, int] | None:
    """Width and height that the test pipeline resizes to."""
    for _, dataset in datasets(cfg.get('test_dataloader'), 'test_dataloader'):
        for step in dataset.get('pipeline') or []:
            scale = step.get('scale')
            if str(step.get('type')).endswith('Resize') and isinstance(scale, (tuple, list)):
                width, height = scale
                return int(width), int(height)
    return None
