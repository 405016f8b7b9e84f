"""AlexNet's own: mmpretrain's signature, outputs and dropout."""

import inspect

import torch

from mmblocks import AlexNet


def test_the_signature_begins_as_mmpretrains(peer):
    theirs = inspect.signature(peer('mmpretrain.models.backbones').AlexNet).parameters
    ours = inspect.signature(AlexNet).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(ours[name].default == theirs[name].default for name in theirs)


def test_without_classifier_it_gives_every_map():
    net = AlexNet()
    assert net.out_indices == (0, 1, 2, 3)
    assert net.out_strides == (4, 8, 16, 32)


def test_dropout_is_the_given_share():
    with torch.device('meta'):
        net = AlexNet(num_classes=5, drop_rate=0.25)
    assert [m.p for m in net.modules() if isinstance(m, torch.nn.Dropout)] == [0.25, 0.25]
