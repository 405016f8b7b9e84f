"""VGG: equal to torchvision's, mmpretrain's and timm's, and to the trunk of mmdet's SSD."""

import inspect

import pytest
import torch
from torch import nn

from mmblocks import VGG
from tests.parity import assert_same_gradients, assert_same_maps, randomise

DEPTHS = (11, 13, 16, 19)
BN = dict(type='BN')
EVERYTHING = (0, 1, 2, 3, 4)
every_form = pytest.mark.parametrize(
    ('depth', 'norm_cfg'), [(d, n) for d in DEPTHS for n in (None, BN)]
)
# mmpretrain's VGG has biases in front of its norms, as published, and mmcv doubts that.
pytestmark = pytest.mark.filterwarnings('ignore:Unnecessary conv bias:UserWarning')


def images(height=75, width=64):
    return torch.rand(1, 3, height, width)


def torchvision_net(peer, depth, norm_cfg, **options):
    name = f'vgg{depth}' + ('_bn' if norm_cfg else '')
    return getattr(peer('torchvision.models'), name)(**options)


def timm_net(peer, depth, norm_cfg, **options):
    name = f'vgg{depth}' + ('_bn' if norm_cfg else '')
    return peer('timm').create_model(name, **options)


def mmpretrain_net(peer, **options):
    theirs = randomise(peer('mmpretrain.models.backbones').VGG(**options))
    theirs.eval()  # mmpretrain's eval() returns nothing
    return theirs


def maps_of(features, x):
    """The maps behind the poolings of torchvision's and timm's flat container."""
    maps = []
    for layer in features:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            maps.append(x)
    return maps


@every_form
def test_the_keys_are_torchvisions(depth, norm_cfg, peer):
    with torch.device('meta'):
        theirs = torchvision_net(peer, depth, norm_cfg, init_weights=False).state_dict()
        ours = VGG(depth, num_classes=1000, norm_cfg=norm_cfg).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@every_form
def test_every_weight_of_mmpretrain_and_timm_finds_its_place(depth, norm_cfg, peer):
    with torch.device('meta'):
        ours = VGG(depth, num_classes=1000, norm_cfg=norm_cfg)
        for theirs in (
            peer('mmpretrain.models.backbones').VGG(depth, num_classes=1000, norm_cfg=norm_cfg),
            timm_net(peer, depth, norm_cfg),
        ):
            ours.load_state_dict(theirs.state_dict())
            trunk = VGG(depth, norm_cfg=norm_cfg)
            trunk.load_state_dict(theirs.state_dict())


@pytest.mark.parametrize(('depth', 'norm_cfg'), [(11, None), (13, None), (16, BN), (19, BN)])
def test_the_maps_equal_torchvisions(depth, norm_cfg, peer):
    with torch.device('meta'):
        theirs = torchvision_net(peer, depth, norm_cfg, init_weights=False).features
    theirs = randomise(theirs.to_empty(device='cpu')).eval()
    ours = VGG(depth, norm_cfg=norm_cfg, out_indices=EVERYTHING).eval()
    ours.features.load_state_dict(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), maps_of(theirs, x))


@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(norm_cfg=BN, out_indices=EVERYTHING),
        dict(num_stages=3, dilations=(1, 2, 3), out_indices=(0, 2)),
        dict(ceil_mode=True, with_last_pool=False, out_indices=(3, 4)),
        dict(norm_cfg=dict(type='GN', num_groups=2), dilations=(1, 1, 1, 2, 4)),
        dict(act_cfg=dict(type='LeakyReLU'), out_indices=(1, 2)),
    ],
    ids=str,
)
def test_the_maps_equal_mmpretrains(options, peer):
    theirs = mmpretrain_net(peer, depth=11, **options)
    ours = VGG(11, **options).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == []
    # Stages past the last output are not built.
    last = ours.out_indices[-1]
    assert bool(unexpected) == (last + 1 < options.get('num_stages', 5))
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.fixture(scope='module')
def with_classifier(peer):
    """Torchvision's net; its classifier takes seconds to fill, so the other peers share it."""
    with torch.device('meta'):
        theirs = torchvision_net(peer, 11, None, num_classes=5, init_weights=False)
    return randomise(theirs.to_empty(device='cpu')).eval()


def vgg11_from(theirs):
    with torch.device('meta'):
        ours = VGG(11, num_classes=5, out_indices=EVERYTHING).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    return ours


def fill(module, source):
    """Returns a net of the meta device the values of another one, matched by position."""
    values = zip(module.state_dict().items(), source.state_dict().values(), strict=True)
    module.load_state_dict({k: v.reshape(meta.shape) for (k, meta), v in values}, assign=True)
    module.eval()  # mmpretrain's eval() returns nothing
    return module


def test_the_logits_equal_torchvisions(with_classifier):
    x = images()
    with torch.no_grad():
        expected = [*maps_of(with_classifier.features, x), with_classifier(x)]
        assert_same_maps(vgg11_from(with_classifier)(x), expected)


@pytest.mark.parametrize('size', [(75, 64), (224, 224)])
def test_the_logits_equal_timms(size, with_classifier, peer):
    with torch.device('meta'):
        theirs = timm_net(peer, 11, None, num_classes=5)
    fill(theirs, with_classifier)
    assert theirs.pre_logits.fc1.weight.shape == (4096, 512, 7, 7)
    x = images(*size)
    with torch.no_grad():
        expected = [*maps_of(theirs.features, x), theirs(x)]
        assert_same_maps(vgg11_from(theirs)(x), expected)


def test_the_logits_equal_mmpretrains(with_classifier, peer):
    with torch.device('meta'):
        theirs = peer('mmpretrain.models.backbones').VGG(11, 5, out_indices=EVERYTHING)
    fill(theirs, with_classifier)
    x = images(224, 224)
    with torch.no_grad():
        assert_same_maps(vgg11_from(theirs)(x), theirs(x))


def test_gradients_equal_mmpretrains(peer):
    options = dict(depth=11, norm_cfg=BN, out_indices=EVERYTHING)
    theirs = mmpretrain_net(peer, **options)
    ours = VGG(**options)
    ours.load_state_dict(theirs.state_dict())
    assert_same_gradients(ours, theirs, theirs, torch.rand(2, 3, 48, 48))


def test_the_trunk_takes_the_weights_of_mmdets_ssd():
    from mmdet.models.backbones import SSDVGG

    theirs = randomise(SSDVGG(16))
    ours = VGG(16, ceil_mode=True, with_last_pool=False, out_indices=(3, 4)).eval()
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing == []
    assert {key.split('.')[1] for key in unexpected} == {'31', '33'}
    x = images()
    with torch.no_grad():
        expected = [theirs.features[:24](x), theirs.features[:30](x)]
        assert_same_maps(ours(x), expected)


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').VGG).parameters
    ours = inspect.signature(VGG).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # The default of init_cfg stands in the class, as for every net.
    assert all(ours[name].default == theirs[name].default for name in theirs if name != 'init_cfg')


def test_frozen_stages_counts_as_mmpretrains(peer):
    for k in (0, 2, 5):
        theirs = mmpretrain_net(peer, depth=11, frozen_stages=k)
        theirs.train()
        ours = VGG(11, frozen_stages=k)
        assert [p.requires_grad for p in ours.parameters()] == [
            p.requires_grad for p in theirs.parameters()
        ]


def test_outputs_and_strides():
    with torch.device('meta'):
        assert VGG(16).out_indices == (4,)
        assert VGG(16).out_strides == (32,)
        assert VGG(16, with_last_pool=False).out_strides == (16,)
        short = VGG(16, num_stages=3, dilations=(1, 1, 1))
        assert (short.out_indices, short.out_channels, short.out_strides) == ((2,), (256,), (8,))


def test_activations_work_in_place_unless_told_not_to():
    def in_place(**options):
        with torch.device('meta'):
            return {m.inplace for m in VGG(11, **options).modules() if isinstance(m, nn.ReLU)}

    assert in_place() == {True}
    assert in_place(act_cfg=dict(type='ReLU', inplace=False)) == {False}


@pytest.mark.parametrize(
    ('given', 'maps'), [(5, ()), ((5,), ()), ([3, 5], (3,)), ((4,), (4,))], ids=str
)
def test_the_logits_can_be_asked_for_as_in_mmpretrain(given, maps, peer):
    with torch.device('meta'):
        ours = VGG(11, num_classes=5, out_indices=given)
    assert ours.out_indices == maps
    theirs = peer('mmpretrain.models.backbones').VGG
    if not isinstance(given, int):
        with torch.device('meta'):
            outputs = theirs(11, num_classes=5, out_indices=given)(torch.empty(1, 3, 224, 224))
        assert len(outputs) == len(maps) + 1


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=12), r'depth=12.*\[11, 13, 16, 19\]'),
        (dict(depth=[11]), r'depth=\[11\]: must be one of \[11, '),
        *(
            (dict(depth=11, num_stages=n), rf'num_stages={n}: must be one of \[1, 2, 3, 4, 5\]')
            for n in (0, 6, 5.0)
        ),
        *(
            (
                dict(depth=11, dilations=wrong),
                r'dilations=.*num_stages=5 entries, each an int of at least',
            )
            for wrong in (2, 1.5, (1, 1, 1, 1, 0))
        ),
        (dict(depth=11, drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(depth=11, num_stages=3), r'dilations=\(1, 1, 1, 1, 1\): must have num_stages=3'),
        (
            dict(depth=11, num_stages=4, dilations=(1, 1, 1, 1), num_classes=10),
            'num_stages=4: the classifier of num_classes=10 needs 5',
        ),
        (dict(depth=11, out_indices=(5,)), 'outputs are 0 to 4'),
        (dict(depth=11, out_indices=(6,), num_classes=10), 'outputs are 0 to 4'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        VGG(**options)
