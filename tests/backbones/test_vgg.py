"""VGG's own: mmdet's SSD, mmpretrain's signature and freezing, outputs and bad arguments."""

import inspect

import pytest
import torch
from torch import nn

from mmblocks import VGG
from tests.parity import assert_same_maps, randomise

# mmpretrain's VGG has biases in front of its norms, as published, and mmcv doubts that.
pytestmark = pytest.mark.filterwarnings('ignore:Unnecessary conv bias:UserWarning')


def images(height=75, width=64):
    return torch.rand(1, 3, height, width)


def mmpretrain_net(peer, **options):
    theirs = randomise(peer('mmpretrain.models.backbones').VGG(**options))
    theirs.eval()  # mmpretrain's eval() returns nothing
    return theirs


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
