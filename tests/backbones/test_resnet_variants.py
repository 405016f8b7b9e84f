"""What ResNet and its relatives have of their own: detectron2's keys, refusals, bad arguments."""

import pytest
import torch
from mmengine.runner import load_state_dict
from torch import nn

from mmblocks import ResNet, ResNeXt, SEResNet
from tests.parity import assert_same_maps, randomise


def images(**kwargs):
    return torch.rand(2, 3, 65, 83, **kwargs)


def detectron2_name(key):
    """What detectron2 calls a tensor of ours."""
    key = key.replace('downsample.0', 'shortcut').replace('downsample.1', 'shortcut.norm')
    for i in (1, 2, 3):
        key = key.replace(f'.bn{i}.', f'.conv{i}.norm.')
    key = key.replace('bn1.', 'conv1.norm.') if key.startswith('bn1') else key
    if key.startswith('layer'):
        return f'res{int(key[5]) + 1}{key[6:]}'
    return f'stem.{key}'


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
@pytest.mark.parametrize('depth', [18, 50])
def test_detectron2_keys_load_inside_a_detector(depth, load):
    source = randomise(ResNet(depth)).eval()
    state = {
        f'backbone.{detectron2_name(k)}': v
        for k, v in source.state_dict().items()
        if 'num_batches_tracked' not in k  # its frozen norms have none
    }
    assert 'backbone.stem.conv1.norm.weight' in state
    assert 'backbone.res2.0.conv2.norm.running_mean' in state
    model = nn.ModuleDict(dict(backbone=randomise(ResNet(depth), seed=1))).eval()
    load(model, state, strict=True)
    x = images()
    with torch.no_grad():
        assert_same_maps(model['backbone'](x), source(x))


def test_timms_legacy_weights_are_refused_with_the_reason(peer):
    theirs = peer('timm').create_model('legacy_seresnet50')
    with pytest.raises(ValueError, match=r'legacy.*max pool'):
        SEResNet(50).load_state_dict(theirs.state_dict(), strict=False)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ResNeXt(18), r'depth=18.*\[50, 101, 152\]'),
        (lambda: ResNeXt(50, base_width=8), 'base_width=8.*groups=1'),
        (lambda: SEResNet(50, se_ratio=0), 'se_ratio=0'),
    ],
)
def test_a_bad_argument_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
