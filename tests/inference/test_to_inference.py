"""The inference form gives what the module gives, whatever the module."""

import copy
import pickle

import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmblocks
from mmblocks import to_inference
from mmblocks.inference.fused_conv import FusedConv2d
from tests.backbones.nets import NETS, Net, build, every_net, images
from tests.parity import assert_same_maps, randomise

# Norms that cannot be folded: those in front of an activation, with a sum or a join before them.
KEPT = {'DenseNet': 12, 'PreActSEResNet': 9}
RESNET = dict(type='ResNet', depth=50, base_channels=8)
STITCHED = dict(
    dcn=dict(dcn=dict(type='mmblocks.ModulatedDeformConv2dPack'), stage_with_dcn=[True] * 4),
    dcn_v1=dict(dcn=dict(type='mmblocks.DeformConv2dPack'), stage_with_dcn=[True] * 4),
    replaced=dict(replace_convs=[dict(cfg=dict(type='mmblocks.GhostModule', norm_cfg=None))]),
    akconv=dict(replace_convs=[dict(cfg=dict(type='mmblocks.AKConv', num_points=5))]),
    plugins=dict(
        plugins=[dict(cfg=dict(type='mmblocks.SELayer', ratio=4), position='after_conv2')]
    ),
    parallel=dict(plugins=[dict(cfg=dict(type='mmblocks.GhostModule'), position='parallel')]),
    behind=dict(plugins=[dict(cfg=dict(type='mmblocks.CBAM'), position='after_block')]),
    recomputed=dict(with_cp=True, drop_path_rate=0.2),
    without_norm=dict(norm_cfg=None),
    group_norm=dict(norm_cfg=dict(type='GN', num_groups=2)),
)


def norms(module):
    return sum(isinstance(part, _BatchNorm) for part in module.modules())


def assert_same(module, x, rtol=1e-4):
    """Checks outputs and that the module is as it was; returns the inference form."""
    module.train()
    before = copy.deepcopy(module.state_dict())
    grads = [p.requires_grad for p in module.parameters()]
    fast = to_inference(module)
    assert module.training
    assert not any(part.training for part in fast.modules())
    assert [p.requires_grad for p in module.parameters()] == grads
    assert not any(p.requires_grad for p in fast.parameters())
    module.eval()
    with torch.no_grad():
        ours, theirs = fast(x), module(x)
    assert_same_maps(ours, theirs, rtol) if isinstance(theirs, tuple) else None
    if not isinstance(theirs, tuple):
        assert_same_maps([ours], [theirs], rtol)
    after = module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    return fast


@every_net
def test_every_net_gives_the_same_maps(net):
    size = net.classifies
    backbone = randomise(build(net))
    fast = assert_same(backbone, images(net, size, size))
    assert type(fast) is type(backbone)
    assert (fast.out_indices, fast.out_channels) == (backbone.out_indices, backbone.out_channels)
    assert norms(fast) == KEPT.get(net.cfg['type'], 0)


@pytest.mark.parametrize('options', STITCHED.values(), ids=STITCHED)
def test_what_is_stitched_in_gives_the_same_maps(options):
    net = randomise(build(Net(RESNET, 4), **options))
    fast = assert_same(net, torch.rand(1, 3, 64, 64))
    if 'dcn' in options:
        assert norms(fast) == 0


def test_a_gradient_passes_through_it():
    net = randomise(build(NETS[0])).eval()
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    (expected,) = torch.autograd.grad(net(x)[-1].sum(), x)
    (found,) = torch.autograd.grad(to_inference(net)(x)[-1].sum(), x)
    assert_same_maps([found], [expected], 1e-4)


def test_it_can_be_copied_pickled_and_loaded():
    net = build(NETS[0]).eval()
    fast, x = to_inference(net), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        fast(x)
        other = to_inference(randomise(net))
        expected = other(x)
        fast.load_state_dict(other.state_dict())
        for form in (fast, copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert_same_maps(form(x), expected)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_it_keeps_the_dtype(dtype):
    net = randomise(build(NETS[0])).eval()
    with torch.no_grad():
        outs = to_inference(net.to(dtype))(torch.rand(1, 3, 64, 64, dtype=dtype))
        expected = net.double()(torch.rand(1, 3, 64, 64).double())
    assert all(out.dtype == dtype for out in outs)
    assert [out.shape for out in outs] == [out.shape for out in expected]


def test_fpn_gives_the_same_maps():
    neck = mmblocks.FPN([8, 16, 32], 16, 5, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))

    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.neck = neck

        def forward(self, x):
            maps = [x, x.repeat(1, 2, 1, 1)[..., ::2, ::2], x.repeat(1, 4, 1, 1)[..., ::4, ::4]]
            return tuple(self.neck(maps))

    assert norms(assert_same(randomise(Maps()), torch.rand(1, 8, 32, 32))) == 0


class Sharing(nn.Module):
    """A convolution over two levels with a norm for each, as in RTMDet's head."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(ConvModule(4, 4, 3, norm_cfg=dict(type='BN')) for _ in range(2))
        self.convs[1].conv = self.convs[0].conv

    def forward(self, x):
        return tuple(conv(x) for conv in self.convs)


class Reading(nn.Module):
    """The output of a convolution that is read before its norm as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x), x.relu()


class Twice(nn.Module):
    """A convolution that runs twice, once without its norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.norm(self.conv(self.conv(x)))


class Outside(nn.Module):
    """A convolution that another module calls, past the block that it is in."""

    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))

    def forward(self, x):
        return self.block(x), self.block[0](x)


class InPlace(nn.Module):
    """A sum that is written over a map that is read again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = x * 2
        z = y
        z += self.conv(x)
        return y + z


@pytest.mark.parametrize('kind', [Reading, Twice, Outside])
def test_a_norm_stays_where_more_than_it_reads_its_convolution(kind):
    assert norms(assert_same(randomise(nn.Sequential(kind())), torch.rand(2, 4, 8, 8))) == 1


def test_a_convolution_that_is_shared_is_folded_with_each_of_its_norms():
    assert norms(assert_same(randomise(Sharing()), torch.rand(2, 4, 8, 8))) == 0


def test_what_is_written_in_place_is_seen():
    assert_same(randomise(nn.Sequential(InPlace())), torch.rand(2, 4, 8, 8))


@pytest.mark.parametrize('hooked', ['0', '1', ''])
def test_hooks_go_on_being_called(hooked):
    net = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
    net.get_submodule(hooked).register_forward_hook(lambda module, args, out: out + 1)
    assert_same(randomise(net), torch.rand(2, 4, 8, 8))


@pytest.mark.parametrize(
    'layers',
    [
        [nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.BatchNorm2d(6)],
        [nn.Conv2d(4, 8, 3, groups=4), nn.SyncBatchNorm(8)],
        [nn.Conv1d(4, 8, 3), nn.BatchNorm1d(8, affine=False)],
        [nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)],
        [mmblocks.Conv2dSamePadding(4, 6, 3, 2), nn.BatchNorm2d(6)],
    ],
    ids=lambda layers: type(layers[0]).__name__,
)
def test_norms_are_folded_into_every_kind_of_convolution(layers):
    x = torch.rand(2, 4, 9) if isinstance(layers[0], nn.Conv1d) else torch.rand(2, 4, 9, 9)
    assert norms(assert_same(randomise(nn.Sequential(*layers)), x)) == 0


@pytest.mark.parametrize(
    'layers',
    [
        [nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)],
        [nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 1)],
        [nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, track_running_stats=False)],
        [ConvModule(4, 6, 1, conv_cfg=dict(type='ConvWS')), nn.BatchNorm2d(6)],
    ],
    ids=['padding', 'activation', 'no statistics', 'standardised'],
)
def test_norms_stay_where_folding_would_be_wrong(layers):
    assert norms(assert_same(randomise(nn.Sequential(*layers)), torch.rand(2, 4, 8, 8))) == 1


@pytest.mark.parametrize(
    'act',
    [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.SiLU(), nn.Hardswish(), nn.GELU(), nn.ELU()],
)
def test_sums_and_activations_are_right_on_maps_of_any_size(act):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
            self.act = act

        def forward(self, x):
            return self.act(self.conv2(self.act(self.conv1(x))) + x)

    net = randomise(nn.Sequential(Block()))
    for size in ((1, 1), (7, 5), (16, 16)):
        assert_same(net, torch.rand(2, 4, *size))


def test_the_packed_weight_follows_the_weight():
    conv = nn.Conv2d(3, 4, 3).requires_grad_(False)
    fused, x = FusedConv2d(conv), torch.rand(1, 3, 8, 8)
    fused(x)
    conv.weight.mul_(2)
    assert torch.allclose(fused(x), conv(x), atol=1e-5)


def test_an_activation_that_cannot_be_fused_is_refused():
    with pytest.raises(ValueError, match=r'activation=Softplus'):
        FusedConv2d(nn.Conv2d(3, 4, 3)).fuse(nn.Softplus())
