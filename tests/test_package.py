"""The package itself: its names, what importing it needs, and what it must not import."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import mmblocks


def run_python(code, *options):
    return subprocess.run(
        [sys.executable, *options, '-c', textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_it_imports_neither_mmdet_nor_compiled_ops():
    result = run_python("""
        import sys
        import mmblocks
        loaded = [m for m in sys.modules if m.split('.')[0] == 'mmdet' or m.startswith('mmcv.ops')]
        assert loaded == [], loaded
    """)
    assert result.returncode == 0, result.stderr


def test_only_the_command_line_imports_the_digits():
    result = run_python("""
        import sys
        import mmblocks, mmblocks.engine, mmblocks.describe.structure, mmblocks.swap
        assert not [m for m in sys.modules if m.startswith(('mmblocks.digits', 'mmblocks.cli'))]
    """)
    assert result.returncode == 0, result.stderr
    package = Path(mmblocks.__file__).parent
    users = {
        path.relative_to(package).parts[0]
        for path in package.rglob('*.py')
        if 'mmblocks.digits' in path.read_text() and '.mim' not in path.parts
    }
    assert users == {'cli', 'digits'}


def test_it_works_without_compiled_ops():
    # As with mmcv-lite, which has all of mmcv.ops but mmcv._ext.
    result = run_python("""
        import os
        os.environ['MMBLOCKS_OPS'] = 'torch'
        import torch
        import mmblocks
        net = mmblocks.ResNet(18, dcn=dict(type='DCNv2'), stage_with_dcn=(0, 0, 0, 1))
        maps = mmblocks.FPN(net.out_channels, 8, 4)(net(torch.rand(1, 3, 64, 64)))
        sum(x.sum() for x in maps).backward()
        assert net.layer4[0].conv2.weight.grad.any()
    """)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('missing', ['mmengine', 'mmcv'])
def test_without_openmmlab_it_says_which_extra_to_install(missing):
    result = run_python(f"""
        import sys
        sys.modules[{missing!r}] = None
        import mmblocks
    """)
    assert result.returncode != 0
    assert "pip install 'mmblocks[openmmlab]'" in result.stderr.splitlines()[-1]


def test_every_public_name_is_there():
    for name in mmblocks.__all__:
        assert hasattr(mmblocks, name)
    assert {'GhostNet', 'ResNet', 'ResNetV1d'} <= set(mmblocks.list_backbones())


class OnlyMeta(TorchDispatchMode):
    """Refuses every operator whose result takes memory."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            assert not isinstance(value, torch.Tensor) or value.is_meta, func
        return out


def test_feature_info_allocates_nothing():
    with OnlyMeta():
        info = mmblocks.feature_info(dict(type='mmblocks.ResNet', depth=152))
    assert info == ((256, 4), (512, 8), (1024, 16), (2048, 32))
    with pytest.raises(AssertionError), OnlyMeta():
        mmblocks.ResNet(18)


@pytest.mark.parametrize(
    'wrong', [dict(type='mmdet.ResNet', depth=50), dict(type='GostNet'), dict(depth=50)]
)
def test_feature_info_of_what_is_not_ours_names_what_is(wrong):
    with pytest.raises(ValueError, match=r'GhostNet, .*ResNet'):
        mmblocks.feature_info(wrong)
    with pytest.raises(ValueError, match='Conv2d, not one of'):
        mmblocks.feature_info(torch.nn.Conv2d(1, 1, 1))
