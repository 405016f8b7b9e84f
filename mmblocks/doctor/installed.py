"""Which distributions stand behind the libraries, by their metadata alone."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

# Of each library, the distributions that bring it; two of them overwrite each other's files.
DISTRIBUTIONS = {
    'torch': ('torch',),
    'numpy': ('numpy',),
    'cv2': (
        *('opencv-python', 'opencv-python-headless'),
        *('opencv-contrib-python', 'opencv-contrib-python-headless'),
    ),
    'pycocotools.mask': ('pycocotools',),
    'pkg_resources': ('setuptools',),
    'mmengine': ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'mmblocks': ('mmblocks',),
    'torchvision': ('torchvision',),
    'timm': ('timm',),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
}


def installed(library: str) -> dict[str, str]:
    """Returns the versions of the installed distributions that bring a library.

    Args:
        library: The name under which it is imported.

    Example:
        >>> list(installed('numpy'))
        ['numpy']
    """
    found = {}
    for name in DISTRIBUTIONS[library]:
        try:
            found[name] = distribution(name).version
        except PackageNotFoundError:
            continue
    return found


def wanted_torch() -> str:
    """Returns the version of torch that the installed torchvision asks for, empty for none."""
    try:
        requirements = distribution('torchvision').requires or []
    except PackageNotFoundError:
        return ''
    matches = (re.match(r'torch\s*\(?==\s*([\d.]+)', line) for line in requirements)
    return next((match[1] for match in matches if match), '')


def major(version: str) -> int:
    """Returns the first number of a version, 0 where there is none.

    Example:
        >>> major('81.0.1')
        81
    """
    match = re.match(r'\d+', version)
    return int(match[0]) if match else 0
