"""The configs of mmdet's wheel."""

from __future__ import annotations

from pathlib import Path

import mmdet
from mmengine.config import Config

ROOT = Path(mmdet.__file__).parent / '.mim'

# What other configs build on, and what changes the classes of others: no model is in these.
_PARTS = ('_base_', 'common/', '_tta.py', 'override_category.py')


def list_configs() -> list[str]:
    """Returns every config that is for a model, as a path below mmdet's ``configs/``.

    Example:
        >>> 'retinanet/retinanet_r50_fpn_1x_coco.py' in list_configs()
        True
    """
    folder = ROOT / 'configs'
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.py'))
    return [path for path in paths if not any(part in path for part in _PARTS)]


def read_model(config: str) -> dict:
    """Returns the ``model`` of a config of the zoo, with the scope of its names if not mmdet's.

    Args:
        config: Its path below mmdet's ``configs/``.
    """
    cfg = Config.fromfile(ROOT / 'configs' / config)
    model = cfg.model.to_dict()
    scope = cfg.get('default_scope', 'mmdet')
    return model if scope == 'mmdet' else dict(model, _scope_=scope)
