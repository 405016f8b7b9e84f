"""A config of mmpretrain moves over by its type alone."""

import inspect
from pathlib import Path

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.registry import MODELS
from torch.testing import assert_close

import mmblocks
from tests.parity import randomise
from tests.peers import meta_device

# What has no default there; LeNet5 and the others without an entry need nothing.
REQUIRED = {
    'ResNet': dict(depth=18),
    'ResNetV1c': dict(depth=18),
    'ResNetV1d': dict(depth=18),
    'ResNeXt': dict(depth=50),
    'SEResNet': dict(depth=50),
    'VGG': dict(depth=11),
    'AlexNet': dict(num_classes=3),
    'LeNet5': dict(num_classes=3),
}
# Left out, out_indices means the last map there, and the last of each stride here.
GIVES_MORE = ('MobileNetV3',)
SHARED = (
    *('AlexNet', 'DenseNet', 'EfficientNet', 'LeNet5', 'MobileNetV2', 'MobileNetV3', 'ResNeXt'),
    *('ResNet', 'ResNetV1c', 'ResNetV1d', 'SEResNet', 'ShuffleNetV1', 'ShuffleNetV2', 'VGG'),
)


RESNETS = ('ResNet', 'ResNetV1c', 'ResNetV1d', 'ResNeXt', 'SEResNet')
DIFFERING = {
    *((net, argument) for net in RESNETS for argument in ('norm_eval', 'out_indices')),
    ('ResNeXt', 'groups'),
    ('MobileNetV2', 'out_indices'),
    ('EfficientNet', 'frozen_stages'),
    ('DenseNet', 'frozen_stages'),
}
PAGE = Path(__file__).parents[2] / 'docs' / 'coming_from.md'


@pytest.fixture(scope='module')
def theirs(peer):
    return peer('mmpretrain.models.backbones')


def defaults_of(cls):
    """The defaults of a constructor's arguments, those of its parents included."""
    found = {}
    for parent in cls.__mro__:
        for name, parameter in inspect.signature(parent.__init__).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(parent).parameters.values()):
            break
    return found


def test_these_are_the_nets_that_both_have(theirs):
    assert set(SHARED) == set(mmblocks.list_backbones()) & set(theirs.__all__)


def test_where_defaults_differ_the_page_says_so(theirs):
    differing = {
        (name, argument)
        for name in SHARED
        for argument, default in defaults_of(getattr(theirs, name)).items()
        # By other means the same: Kaiming, 64 channels, TensorFlow's padding, ResNeXt's width.
        if argument not in ('init_cfg', 'stem_channels', 'conv_cfg', 'width_per_group')
        # None for the last map or maps is said in the docstring.
        and defaults_of(getattr(mmblocks, name))[argument] not in (default, None)
    }
    assert differing == DIFFERING
    section = PAGE.read_text().partition('## Defaults that differ')[2]
    rows = [line.split(' | ') for line in section.splitlines() if line.startswith('| mmpretrain')]
    last = ''
    said = set()
    for _, nets, argument, *_ in rows:
        last = last if nets == 'the same' else nets
        said |= {(net, argument.strip('`')) for net in last.split(', ')}
    assert differing <= said


@pytest.mark.parametrize('name', SHARED)
def test_every_argument_of_theirs_makes_their_net(name, theirs):
    cls = getattr(theirs, name)
    config = defaults_of(cls) | REQUIRED.get(name, {})
    for fixed in ('deep_stem', 'avg_down') if name in ('ResNetV1c', 'ResNetV1d') else ():
        config.pop(fixed)
    size = dict(LeNet5=(2, 1, 32, 32), AlexNet=(2, 3, 224, 224)).get(name, (2, 3, 64, 64))
    with meta_device(), torch.no_grad():
        their_net = cls(**config)
        their_net.eval()  # mmpretrain's gives nothing back
        our_net = MODELS.build(dict(config, type=f'mmblocks.{name}')).eval()
        x = torch.rand(size)
        their_maps, our_maps = (
            [out] if isinstance(out, torch.Tensor) else out for out in (their_net(x), our_net(x))
        )
    if name in GIVES_MORE:
        our_maps = our_maps[-1:]
    assert [m.shape for m in our_maps] == [m.shape for m in their_maps]
    sizes = [sum(p.numel() for p in net.parameters()) for net in (our_net, their_net)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize('name', ['ResNet', 'ResNetV1d', 'ResNeXt', 'SEResNet', 'EfficientNet'])
def test_drop_path_rate_skips_blocks_as_often_as_theirs(name, theirs):
    config = {'EfficientNet': {}, 'ResNeXt': dict(depth=50, groups=2, width_per_group=4)}.get(
        name, dict(depth=50)
    )
    config |= dict(out_indices=(1,)) if name == 'ResNet' else {}
    config |= dict(drop_path_rate=0.3)
    with meta_device():
        ours = MODELS.build(dict(config, type=f'mmblocks.{name}'))
        their_net = getattr(theirs, name)(**config)

    def rates(net):
        found = [getattr(m, 'drop_path', None) for m in net.modules()]
        return [getattr(m, 'drop_prob', 0.0) for m in found if m is not None]

    # Theirs builds stages behind the last output, too.
    assert rates(ours) == pytest.approx(rates(their_net)[: len(rates(ours))])
    assert max(rates(ours)) > 0


def test_drop_path_drops_the_branch_of_a_sample_and_nothing_in_eval_mode():
    plain = randomise(mmblocks.ResNet(18, base_channels=8, norm_eval=False))
    net = mmblocks.ResNet(18, base_channels=8, drop_path_rate=0.5)
    assert net.state_dict().keys() == plain.state_dict().keys()
    net.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 64, 64)
    assert_close(net.eval()(x), plain.eval()(x), rtol=0, atol=0)
    block = net.layer4[1].train()
    for module in block.modules():
        if not isinstance(module, DropPath):
            module.training = False
    branches = []
    block.drop_path.register_forward_pre_hook(lambda module, args: branches.append(args[0]))
    x = torch.rand(64, 64, 2, 2)
    with torch.no_grad():
        out = block(x)
        skipped = (out == x).flatten(1).all(1)
        kept = torch.relu(branches[0] / (1 - block.drop_path.drop_prob) + x)
    assert 16 < skipped.sum() < 48
    assert_close(out[~skipped], kept[~skipped])


def test_what_means_the_same_has_both_names():
    ours = mmblocks.ResNeXt(50, groups=4, base_width=8, base_channels=8)
    theirs = mmblocks.ResNeXt(50, groups=4, width_per_group=8, base_channels=8)
    assert str(ours) == str(theirs)
    with pytest.raises(ValueError, match='width_per_group=8 and base_width=16 mean the same'):
        mmblocks.ResNeXt(50, groups=4, width_per_group=8, base_width=16)
    with pytest.raises(ValueError, match=r'expansion=2: must be one of \[4\]'):
        mmblocks.ResNet(50, expansion=2)
