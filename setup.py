"""Packaging of mmblocks.

The folder ``mmblocks/.mim`` holds links to ``configs`` and ``tools``, so that MMEngine finds
``mmblocks::...`` in a checkout as in a wheel, where the links have become copies.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
MIM_FILES = [
    '.mim/model-index.yml',
    '.mim/configs/**/*.py',
    '.mim/configs/**/*.yml',
    '.mim/tools/*.py',
    '.mim/tools/*.sh',
]


def read_version() -> str:
    """Reads the version without importing the package, whose imports may not be there yet."""
    text = (ROOT / 'mmblocks' / 'version.py').read_text(encoding='utf-8')
    match = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    if match is None:
        raise SystemExit('mmblocks/version.py has no line __version__ = ...')
    return match.group(1)


def read_readme() -> str:
    """Reads the long description."""
    readme = ROOT / 'README.md'
    return readme.read_text(encoding='utf-8') if readme.exists() else ''


if not (ROOT / 'mmblocks' / '.mim' / 'configs').is_dir():
    raise SystemExit(
        'mmblocks/.mim/configs is no link to the folder configs, so the package would lack its '
        'configs; check the sources out with symbolic links (git config core.symlinks true)'
    )

setup(
    name='mmblocks',
    version=read_version(),
    description='Backbones, necks and blocks for OpenMMLab detectors on current PyTorch',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    packages=find_packages(include=['mmblocks', 'mmblocks.*']),
    package_data={'mmblocks': ['py.typed', *MIM_FILES]},
    entry_points={'console_scripts': ['mmblocks=mmblocks.cli.main:main']},
    python_requires='>=3.10',
    install_requires=['torch', 'numpy'],
    extras_require={
        'openmmlab': [
            'mmengine>=0.10.7',
            'mmcv>=2.0.0,<2.2.0',
            'mmdet>=3.3.0',
            'safetensors',
        ],
        'lite': ['mmengine>=0.10.7', 'mmcv-lite>=2.0.0,<2.2.0', 'mmdet>=3.3.0', 'safetensors'],
        'onedl': ['onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'safetensors'],
        'export': ['onnx', 'onnxscript', 'onnxruntime'],
        'demo': ['scikit-learn', 'matplotlib'],
        'test': ['pytest', 'hypothesis', 'ruff', 'mypy'],
    },
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
