"""InceptionNeXt's own: dropped paths, initialisation and bad arguments."""

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from torch.testing import assert_close

from mmblocks import InceptionNeXt
from tests.parity import randomise

SMALL = dict(
    depths=(1, 2, 1, 1),
    widths=(16, 24, 32, 40),
    mlp_ratios=(2, 3, 2, 1.5),
    band_kernel_size=7,
    branch_ratio=0.25,
)


def images():
    # Of neither side does any stride leave nothing over.
    return torch.rand(2, 3, 69, 87)


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_maps_have_the_size_over_the_stride(output_stride):
    with torch.device('meta'):
        net = InceptionNeXt('atto', output_stride=output_stride)
        maps = net(images())
    assert [m.shape[2:] for m in maps] == [
        (69 // stride, 87 // stride) for stride in net.out_strides
    ]


def drop_rates(net, kind):
    return [m.drop_prob for m in net.modules() if isinstance(m, kind)]


def test_paths_are_dropped_as_often_as_timms(peer):
    theirs = peer('timm').create_model('inception_next_atto', drop_path_rate=0.3)
    rates = drop_rates(InceptionNeXt('atto', drop_path_rate=0.3), DropPath)
    assert_close(rates, drop_rates(theirs, peer('timm.layers').DropPath))
    # Twelve blocks, of which the first is always there.
    assert_close(rates, [0.3 * i / 11 for i in range(1, 12)])
    first_stages = InceptionNeXt('atto', drop_path_rate=0.3, out_indices=(0, 1))
    assert drop_rates(first_stages, DropPath) == rates[:3]


def test_paths_are_dropped_in_training_only():
    net = randomise(InceptionNeXt(SMALL, drop_path_rate=0.9, norm_eval=True)).train()
    plain = InceptionNeXt(SMALL)
    plain.load_state_dict(net.state_dict())
    x = images()
    assert not torch.equal(net(x)[-1], net(x)[-1])
    assert_close(net.eval()(x), plain.eval()(x), rtol=0, atol=0)


def test_one_block_is_never_dropped():
    net = InceptionNeXt(dict(depths=[1], widths=[16], mlp_ratios=[4]), drop_path_rate=0.9)
    assert drop_rates(net, DropPath) == []


def test_dropped_paths_are_the_same_when_blocks_are_recomputed():
    x = torch.rand(4, 3, 64, 64, dtype=torch.float64)
    grads = []
    for with_cp in (False, True):
        net = randomise(InceptionNeXt(SMALL, drop_path_rate=0.5, with_cp=with_cp)).double().train()
        torch.manual_seed(3)
        sum(m.square().mean() for m in net(x)).backward()
        grads.append({name: p.grad for name, p in net.named_parameters()})
    assert_close(grads[1], grads[0])


def test_the_classifier_drops_values_in_training():
    net = InceptionNeXt(SMALL, num_classes=5, drop_rate=0.5, norm_eval=True)
    x = images()
    assert not torch.equal(net.train()(x)[0], net(x)[0])
    assert torch.equal(net.eval()(x)[0], net(x)[0])


def test_it_starts_like_timms(peer):
    ours = InceptionNeXt('atto', num_classes=10)
    ours.init_weights()
    theirs = peer('timm').create_model('inception_next_atto', num_classes=10).state_dict()
    for name, tensor in ours.state_dict().items():
        if name.endswith('.weight') and tensor.dim() > 1:
            if tensor.numel() > 5000:
                assert_close(tensor.std(), theirs[name].std(), rtol=0.1, atol=0)
            assert tensor.abs().max() < 0.15
        else:
            assert_close(tensor, theirs[name])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='large'), "arch='large'.*'atto'.*depths"),
        (dict(arch=3), 'arch=3.*base'),
        (dict(arch=dict(depths=[1])), 'arch=.*must have the keys.*widths'),
        (dict(arch=SMALL | dict(strides=[1])), 'arch=.*may have'),
        (dict(arch=SMALL | dict(depths=[1, 1])), 'arch=.*one entry per stage'),
        (dict(arch=dict(depths=[1], widths=[16])), 'arch=.*mlp_ratios.*one entry per stage'),
        (dict(arch=dict(depths=[], widths=[], mlp_ratios=[])), 'arch=.*one entry per stage'),
        (dict(arch=SMALL | dict(depths=[1, 0, 1, 1])), 'arch=.*at least 1'),
        (dict(arch=SMALL | dict(widths=[16, 24, 32, 40.0])), 'arch=.*ints'),
        (dict(arch=SMALL | dict(mlp_ratios=[0, 1, 1, 1])), 'arch=.*mlp_ratios.*at least 1'),
        (dict(arch=SMALL | dict(branch_ratio=0.5)), 'branch_ratio=0.5'),
        (dict(drop_path_rate=1), 'drop_path_rate=1.*below 1'),
        (dict(drop_path_rate=-0.1), 'drop_path_rate=-0.1.*at least 0'),
        (dict(drop_path_rate=None), 'drop_path_rate=None: must be a number'),
        (dict(drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(arch=dict(depths=3, widths=[16])), 'arch=.*one entry per stage'),
        (dict(output_stride=4), 'output_stride=4.*8, 16 or 32'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        InceptionNeXt(**options)
