"""mmblocks: backbones, necks and blocks for detectors of the OpenMMLab family.

Importing the package registers its classes, so that a config can name them:
``backbone=dict(type='mmblocks.GhostNet')``.
"""

from mmblocks.doctor import run_if_asked

try:
    import mmcv.cnn
    import mmengine
except Exception as error:
    run_if_asked()  # `mmblocks doctor` says what is wrong
    if not isinstance(error, ImportError):
        raise
    raise ImportError(
        f"mmblocks needs {error.name or 'mmengine and mmcv'}: pip install 'mmblocks[openmmlab]', "
        "'mmblocks[lite]' for mmcv without compiled ops, or 'mmblocks[onedl]' for the maintained "
        'forks. What else may be wrong: mmblocks doctor'
    ) from error

from mmengine.config.utils import MODULE2PACKAGE

from mmblocks import backbones, hooks, layers, necks
from mmblocks.backbones import *  # noqa: F403 - the list of names stands there, once
from mmblocks.describe.catalog import FeatureInfo, feature_info, list_backbones
from mmblocks.hooks import *  # noqa: F403
from mmblocks.inference import to_inference
from mmblocks.layers import *  # noqa: F403
from mmblocks.necks import *  # noqa: F403
from mmblocks.ops.finder import serve_ext
from mmblocks.version import __version__

# MMEngine resolves 'mmblocks::...' only for packages on this list, and looks up a folder by the
# name of the distribution, which is wrong for an editable install. A module's name makes it ask
# the import system instead.
MODULE2PACKAGE.setdefault('mmblocks', 'mmblocks.version')

serve_ext()

del mmcv, mmengine, run_if_asked

__all__ = [
    *backbones.__all__,
    *hooks.__all__,
    *layers.__all__,
    *necks.__all__,
    'FeatureInfo',
    '__version__',
    'feature_info',
    'list_backbones',
    'to_inference',
]
