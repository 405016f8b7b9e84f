"""GoogLeNet's own: auxiliary classifiers, transformed images, freezing."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmblocks import GoogLeNet
from tests.parity import assert_same_maps, gradients, randomise

NO_DROPOUT = dict(drop_rate=0.0, aux_drop_rate=0.0)
THEIR_NO_DROPOUT = dict(dropout=0.0, dropout_aux=0.0)


def images():
    return torch.rand(2, 3, 65, 83)


def torchvision_net(peer, **options):
    build = peer('torchvision.models').GoogLeNet
    return randomise(build(num_classes=5, init_weights=False, **THEIR_NO_DROPOUT, **options)).eval()


def load(ours, theirs):
    keys = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert keys.missing_keys == keys.unexpected_keys == []
    return ours


@pytest.mark.parametrize('with_cp', [False, True])
def test_in_training_the_auxiliary_logits_come_between_maps_and_logits(peer, with_cp):
    theirs = torchvision_net(peer).double().train()
    ours = load(GoogLeNet(5, out_indices=2, with_cp=with_cp, **NO_DROPOUT).double(), theirs)
    x = images().double()

    def their_outputs(x):
        out = theirs(x)
        return out.aux_logits1, out.aux_logits2, out.logits

    with torch.no_grad():
        feature, *logits = ours.train()(x)
    assert feature.shape[1] == 480
    assert_close(tuple(logits), their_outputs(x))
    grads, dx = gradients(ours, lambda x: ours(x)[1:], x)
    their_grads, their_dx = gradients(theirs, their_outputs, x)
    assert_close(dx, their_dx)
    assert_close(grads, their_grads, rtol=1e-8, atol=1e-8)


def test_without_auxiliary_classifiers_their_keys_are_dropped(peer):
    theirs = torchvision_net(peer)
    ours = load(GoogLeNet(5, aux_logits=False), theirs)
    assert not any(name.startswith('aux') for name in ours.state_dict())
    assert len(ours.train()(images())) == 1


def test_a_loss_on_the_logits_alone_leaves_only_the_auxiliary_classifiers_without_gradient():
    net = GoogLeNet(5).train()
    F.cross_entropy(net(images())[-1], torch.tensor([0, 1])).backward()
    without = {name.split('.')[0] for name, p in net.named_parameters() if p.grad is None}
    assert without == {'aux1', 'aux2'}


def test_torchvisions_weights_expect_a_half_as_mean_and_standard_deviation(peer):
    theirs = torchvision_net(peer, transform_input=True)
    ours = load(GoogLeNet(5), theirs).eval()
    pixels = torch.randint(256, (2, 3, 64, 64)).float()
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    with torch.no_grad():
        assert_same_maps(ours((pixels - 127.5) / 127.5), [theirs((pixels / 255 - mean) / std)])


def test_frozen_stages_counts_every_inception_block():
    net = GoogLeNet(5, frozen_stages=4)
    trainable = {n.split('.')[0] for n, p in net.named_parameters() if p.requires_grad}
    frozen = {n.split('.')[0] for n, p in net.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'conv2', 'conv3', 'inception3a', 'inception3b', 'inception4a'}
    assert {'inception4b', 'aux1', 'aux2', 'fc'} <= trainable
    with pytest.raises(ValueError, match=r'frozen_stages=11.*to 10'):
        GoogLeNet(5, frozen_stages=11)


def test_exported_in_eval_mode_it_gives_the_logits_alone():
    net = GoogLeNet(5).eval()
    x = images()
    exported = torch.export.export(net, (x,)).module()
    (logits,) = exported(x)
    assert_close((logits,), net(x))
