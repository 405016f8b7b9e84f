"""What every backbone promises, held for every backbone that is registered."""

import copy
import inspect
import pickle
import re

import numpy as np
import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.model import revert_sync_batchnorm
from mmengine.runner import load_checkpoint
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import mmblocks
from mmblocks.backbones.base import Group
from mmblocks.benchmark.measure import bytes_kept
from tests.backbones.nets import NETS, Net, build, every_net, images
from tests.parity import randomise
from tests.peers import undrawn


def groups(backbone: mmblocks.BaseBackbone) -> list[list[nn.Module]]:
    return [backbone.group(i) for i in range(backbone.num_groups)]


def norms(module: nn.Module) -> list[_BatchNorm]:
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


def buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_every_backbone_stands_in_the_table_of_nets():
    assert {net.cfg['type'] for net in NETS} == set(mmblocks.list_backbones())


@every_net
def test_it_gives_the_maps_that_it_announces(net):
    backbone = build(net).eval()
    height, width = 75, 97
    maps = backbone(images(net, height, width))
    assert isinstance(maps, tuple)
    assert len(maps) == len(backbone.out_indices) > 0
    assert list(backbone.out_strides) == sorted(backbone.out_strides)
    for x, channels, stride in zip(maps, backbone.out_channels, backbone.out_strides, strict=True):
        assert x.shape[:2] == (2, channels)
        assert net.expects(x.shape[2:], (height, width), stride), x.shape


@every_net
def test_feature_info_needs_no_weights(net):
    with undrawn():
        built = build(net)
    info = mmblocks.feature_info(net.cfg)
    assert info == mmblocks.feature_info(built)
    assert tuple(entry.channels for entry in info) == built.out_channels
    assert tuple(entry.stride for entry in info) == built.out_strides


@every_net
def test_any_choice_of_outputs_gives_the_same_maps(net):
    everything = build(net, out_indices=range(net.num_outputs)).eval()
    randomise(everything)
    x = images(net)
    maps = everything(x)
    for i in range(net.num_outputs):
        with undrawn():
            one = build(net, out_indices=i).eval()
        missing, _ = one.load_state_dict(everything.state_dict(), strict=False)
        assert not missing
        assert_close(one(x), (maps[i],))
        assert one.out_channels == everything.out_channels[i : i + 1]
    last = net.num_outputs - 1
    for choice, expected in (
        ([last, 0], (0, last)),
        ((-1,), (last,)),
        ((0, -1), (0, last)),
        (np.array([0, -1]), (0, last)),
        (-net.num_outputs, (0,)),
        (-2, (last - 1,)),
    ):
        with undrawn():
            chosen, plain = build(net, out_indices=choice), build(net, out_indices=max(expected))
        assert chosen.out_indices == expected
        # Nothing is built past the last output, however it is counted.
        assert len(groups(chosen)) == len(groups(plain))


@every_net
def test_an_output_that_is_not_there_is_named_with_those_that_are(net):
    n = net.num_outputs
    for wrong in ((0, n), (n + 1,), (-n - 1,)):
        with pytest.raises(ValueError, match=rf'out_indices.*outputs are 0 to {n - 1}'):
            build(net, out_indices=wrong)
    for wrong in ((0, 0), (n - 1, -1)):
        with pytest.raises(ValueError, match='twice'):
            build(net, out_indices=wrong)
    for wrong in ((), 'last', 1.0, (1.0,), (True,)):
        with pytest.raises(ValueError, match='out_indices'):
            build(net, out_indices=wrong)


def assert_frozen(backbone: mmblocks.BaseBackbone, k: int, training: bool = True) -> None:
    """Checks that exactly the groups up to k are frozen; with norm_eval=False."""
    for i, group in enumerate(groups(backbone)):
        for module in group:
            modes = {m.training for m in (module, *norms(module))}
            assert modes == {training and i > k}
            assert all(p.requires_grad == (i > k) for p in module.parameters())


def assert_summary_names_what_is_frozen(backbone: mmblocks.BaseBackbone) -> None:
    """Checks that the summary names what is frozen, and nothing without parameters."""
    is_frozen = not all(p.requires_grad for p in backbone.parameters())
    assert ('frozen are no groups' in backbone.frozen_summary()) != is_frozen
    named = backbone.frozen_summary().split('frozen are ')[1].split(';')[0]
    parts = [part for name in named.split(', ') for part in name.split(' to ')]
    for part in set(parts) - {'stem', 'no groups'}:
        assert list(backbone.get_submodule(part).parameters())


@every_net
def test_frozen_stages_freezes_the_stem_and_that_many_groups_and_says_so(net):
    with undrawn():
        num_groups = len(groups(build(net)))
        for k in range(-1, num_groups):
            backbone = build(net, frozen_stages=k, norm_eval=False)
            assert_frozen(backbone, k)
            assert_frozen(backbone.eval(), k, training=False)
            assert_frozen(backbone.train(), k)
            assert_summary_names_what_is_frozen(backbone)
        expected = rf'frozen_stages={num_groups} .* to {num_groups - 1} '
        with pytest.raises(ValueError, match=expected):
            build(net, frozen_stages=num_groups)


@every_net
def test_frozen_stages_can_be_changed_at_any_time_and_hold_at_once(net):
    with undrawn():
        backbone = build(net, norm_eval=False)
    last = len(groups(backbone)) - 1
    for training in (False, True):
        for k in (0, last, 1, 1, -1, last, 0, -1):
            backbone.train(training)
            backbone.set_frozen_stages(k)
            assert_frozen(backbone, k, training)
            left = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
            assert f' {left:,} of ' in backbone.frozen_summary()
            assert_frozen(backbone.eval(), k, training=False)
            assert_frozen(backbone.train(), k)


def normalise_weights(backbone: mmblocks.BaseBackbone) -> None:
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            weight_norm(module)


@every_net
@pytest.mark.parametrize('change', [fuse_conv_bn, normalise_weights])
def test_what_was_rebuilt_while_it_was_frozen_is_thawed_too(net, change):
    backbone = build(net, frozen_stages=1, norm_eval=False)
    change(backbone)
    assert_frozen(backbone.train(), 1)
    backbone.set_frozen_stages(0)
    assert_frozen(backbone, 0)
    backbone.set_frozen_stages(-1)
    assert_frozen(backbone, -1)


@every_net
def test_what_others_hold_back_is_not_thawed(net):
    with undrawn():
        backbone = build(net, frozen_stages=1, norm_cfg=dict(type='BN', requires_grad=False))
    for frozen_stages in (0, -1):
        backbone.set_frozen_stages(frozen_stages)
    held = {id(p) for module in norms(backbone) for p in module.parameters()}
    assert held
    assert all(p.requires_grad == (id(p) not in held) for p in backbone.parameters())


def test_a_group_of_several_modules_is_named_by_its_first_and_last():
    net = mmblocks.VGG(depth=11, norm_cfg=dict(type='BN'), frozen_stages=2)
    assert 'frozen are features.0 to features.1, features.4 to features.5;' in net.frozen_summary()


@every_net
def test_frozen_statistics_stay_and_the_others_move(net):
    backbone = build(net, frozen_stages=1, norm_eval=False)
    before = buffers(backbone)
    backbone(images(net))
    frozen = {id(b) for i in (0, 1) for m in groups(backbone)[i] for b in m.buffers()}
    assert before, 'a net without buffers proves nothing here'
    for name, buffer in backbone.named_buffers():
        assert torch.equal(buffer, before[name]) == (id(buffer) in frozen), name


@every_net
@pytest.mark.parametrize('wrong', [-2, 99, True, 1.0, None])
def test_frozen_stages_out_of_range_is_an_error_that_names_the_range(net, wrong):
    with undrawn(), pytest.raises(ValueError, match=r'frozen_stages=.*from -1 .* to \d+'):
        build(net, frozen_stages=wrong)


@every_net
@pytest.mark.parametrize('norm', ['BN', 'SyncBN'])
def test_norm_eval_keeps_every_batch_norm_in_eval_mode(net, norm):
    with undrawn():
        backbone = build(net, norm_eval=True, norm_cfg=dict(type=norm)).train()
        learning = build(net, norm_eval=False, norm_cfg=dict(type=norm)).train()
    assert norms(backbone)
    assert not any(m.training for m in norms(backbone))
    assert backbone.training
    assert all(m.training for m in norms(learning))


@every_net
@pytest.mark.parametrize(('with_cp', 'frozen_stages'), [(True, -1), (True, 1), ('norm_act', -1)])
def test_checkpointing_changes_nothing_but_memory(net, with_cp, frozen_stages):
    results = []
    saved = []
    x = images(net, dtype=torch.float64)
    for value in (False, with_cp):
        backbone = build(net, with_cp=value, frozen_stages=frozen_stages, norm_eval=False)
        randomise(backbone).double().train()
        saved.append(bytes_kept(backbone, x))
        maps = backbone(x)
        loss = sum(m.square().mean() for m in maps)
        trained = [p for p in backbone.parameters() if p.requires_grad]
        with_second = with_cp is True and frozen_stages == -1
        grads = torch.autograd.grad(loss, trained, create_graph=with_second)
        second = second_gradients(backbone, loss, grads) if with_second else ()
        results.append((maps, grads, second, buffers(backbone)))
    (maps, grads, second, stats), (maps_cp, grads_cp, second_cp, stats_cp) = results
    assert_close(maps_cp, maps, rtol=0, atol=0)
    assert_close(grads_cp, grads, rtol=1e-12, atol=1e-12)
    assert_close(second_cp, second, rtol=1e-12, atol=1e-12)
    assert_close(stats_cp, stats, rtol=0, atol=0)
    assert saved[1] < (0.6 if with_cp is True else 0.8) * saved[0]


def second_gradients(
    backbone: mmblocks.BaseBackbone, loss: torch.Tensor, grads: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Returns the gradients of gradients; of a net without, what a second backward pass gives."""
    trained = [p for p in backbone.parameters() if p.requires_grad]
    # torch knows no second derivative of the hard sigmoid.
    if any(isinstance(module, nn.Hardsigmoid) for module in backbone.modules()):
        return torch.autograd.grad(loss, trained)
    penalty = sum(grad.square().sum() for grad in grads)
    return torch.autograd.grad(penalty, trained, allow_unused=True, materialize_grads=True)


class Mixed(mmblocks.BaseBackbone):
    """A net with a module in front of the blocks of a group, and one behind them."""

    def __init__(self, with_cp):
        super().__init__(-1, with_cp=with_cp)
        stem = Group({'stem': nn.Conv2d(3, 4, 1)}, channels=4, stride=1, is_output=False)
        blocks = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Tanh())
        parts = {'first': nn.Conv2d(4, 8, 3), 'blocks': blocks, 'last': nn.Conv2d(8, 2, 3)}
        self.add_groups([stem, Group(parts, channels=2, stride=1)], num_outputs=1)


def test_checkpointing_keeps_the_order_of_modules_and_blocks():
    plain, recomputed = (Mixed(with_cp) for with_cp in (False, True))
    recomputed.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 9, 9)
    ran = []
    for name, module in recomputed.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    maps = recomputed(x)
    assert_close(maps, plain(x))
    maps[0].sum().backward()
    assert all(ran.count(name) == 2 for name in ('first', 'blocks.0', 'blocks.1', 'last'))


class Convolutions(TorchDispatchMode):
    """Counts the convolutions that are computed."""

    computed = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.computed += func is torch.ops.aten.convolution.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(('with_cp', 'again'), [(True, 52), ('norm_act', 0)])
def test_checkpointing_computes_no_convolution_of_the_stem_again_or_none_at_all(with_cp, again):
    net = mmblocks.ResNet(50, base_channels=8, norm_eval=False, with_cp=with_cp)
    maps = net(torch.rand(2, 3, 64, 64))
    with Convolutions() as convolutions:
        maps[-1].sum().backward()
    assert convolutions.computed == again


def test_checkpointing_also_works_under_the_compiler():
    # Compiling is slow and checkpointing stands in the base, so one net speaks for all.
    net = NETS[0]
    backbone = build(net, with_cp=True, norm_eval=False)
    plain = copy.deepcopy(backbone)
    plain.with_cp = False
    x = images(net)
    compiled = torch.compile(backbone, fullgraph=True, backend='aot_eager')
    sum(m.sum() for m in compiled(x)).backward()
    sum(m.sum() for m in plain(x)).backward()
    assert_close(buffers(backbone), buffers(plain))


@every_net
def test_every_trainable_parameter_gets_a_gradient(net):
    backbone = randomise(build(net, frozen_stages=0)).train()
    sum(m.square().mean() for m in backbone(images(net))).backward()
    trainable = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
    assert trainable
    assert [n for n, p in trainable.items() if p.grad is None] == []


@every_net
def test_train_and_eval_return_the_backbone(net):
    with undrawn():
        backbone = build(net)
    assert backbone.eval() is backbone
    assert backbone.train() is backbone
    assert not any(m.training for m in backbone.eval().modules())


class NothingComputed(TorchDispatchMode):
    """Lets no operation run, so that there is nothing that a GPU would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise AssertionError(f'{func} was called')


@every_net
def test_changing_modes_computes_nothing_and_looks_at_tensors_once(net):
    with undrawn():
        backbone = build(net, frozen_stages=1, norm_eval=True)
    walks = []
    backbone.register_state_dict_pre_hook(lambda *_: walks.append(1))
    with NothingComputed():
        for _ in range(3):
            backbone.train().eval()
        assert len(walks) == 1
        backbone.set_frozen_stages(0)
        backbone.train()
        assert len(walks) == 1


@every_net
def test_no_config_is_changed_by_building(net):
    cfg = dict(
        net.cfg,
        norm_cfg=dict(type='BN', requires_grad=True, eps=1e-3),
        conv_cfg=dict(type='Conv2d'),
        init_cfg=[dict(type='Kaiming', layer='Conv2d')],
        out_indices=[0, 1],
    )
    before = copy.deepcopy(cfg)
    first, second = (build(Net(cfg, net.num_outputs)) for _ in range(2))
    first.init_weights()
    assert cfg == before
    assert all(m.eps == 1e-3 for m in norms(second))


@every_net
def test_state_and_copies_round_trip(net):
    backbone = randomise(build(net)).eval()
    with undrawn():
        other = build(net).eval()
    other.load_state_dict(backbone.state_dict())
    x = images(net)
    assert_close(other(x), backbone(x))
    assert_close(copy.deepcopy(backbone)(x), backbone(x))
    assert_close(pickle.loads(pickle.dumps(backbone))(x), backbone(x))


@every_net
def test_pretrained_weights_come_through_init_cfg(net, tmp_path):
    source = randomise(build(net)).eval()
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict={f'backbone.{k}': v for k, v in source.state_dict().items()}), path)
    backbone = build(
        net, init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    )
    backbone.init_weights()
    assert_close(dict(backbone.state_dict()), dict(source.state_dict()))
    load_checkpoint(nn.ModuleDict(dict(backbone=build(net))), str(path), strict=True)


@every_net
def test_default_weights_let_the_signal_through(net):
    backbone = build(net)
    backbone.init_weights()
    # 0 in the last norm of residual blocks that start as the identity.
    assert {value for norm in norms(backbone) for value in norm.weight.tolist()} <= {0.0, 1.0}
    backbone.eval()
    with torch.no_grad():
        for x in backbone(images(net)):
            assert x.isfinite().all()
            assert x.std() > 1e-3


@every_net
def test_other_norms_and_image_channels(net):
    backbone = build(net, norm_cfg=dict(type='GN', num_groups=1), in_channels=1)
    assert not norms(backbone)
    maps = backbone(torch.rand(1, 1, 64, 64))
    assert tuple(m.shape[1] for m in maps) == backbone.out_channels


NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


@every_net
def test_norm_cfg_holds_for_every_norm(net):
    with undrawn(), torch.device('meta'):
        count = len(norms(build(net, norm_cfg=dict(type='BN'))))
        others = dict(GN=nn.GroupNorm, SyncBN=nn.SyncBatchNorm, IN=nn.InstanceNorm2d)
        for kind, expected in others.items():
            options = dict(num_groups=1) if kind == 'GN' else {}
            backbone = build(net, norm_cfg=dict(type=kind, **options))
            found = [m for m in backbone.modules() if isinstance(m, NORMS)]
            assert len(found) == count > 0
            assert all(isinstance(m, expected) for m in found)
        bare = build(net, norm_cfg=None)
        assert not any(isinstance(m, NORMS) for m in bare.modules())
        assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
        maps = bare(images(net))
    assert tuple(m.shape[1] for m in maps) == bare.out_channels


@every_net
def test_act_cfg_holds_for_every_activation(net):
    parameters = inspect.signature(getattr(mmblocks, net.cfg['type'])).parameters
    if 'act_cfg' not in parameters:
        return
    kinds = {'ELU'}
    # Without one MobileNetV3 has the paper's two.
    if 'None' in parameters['act_cfg'].annotation and net.cfg['type'] != 'MobileNetV3':
        kinds.add(None)
    for kind in kinds:
        with undrawn(), torch.device('meta'):
            backbone = build(net, act_cfg=None if kind is None else dict(type=kind))
        found = {
            type(module).__name__
            for name, module in backbone.named_modules()
            if type(module).__module__ == 'torch.nn.modules.activation' or 'Swish' in repr(module)
            if not re.search(r'(^|\.)(se|se_layer|se_module)\.', f'{name}.')
            and not list(module.children())
        }
        assert found == {kind} - {None}


@every_net
def test_norms_can_be_converted_after_building(net):
    backbone = randomise(build(net, frozen_stages=1, norm_eval=False)).eval()
    x = images(net)
    before = backbone(x)
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).train()
    assert any(isinstance(m, nn.SyncBatchNorm) for m in synced.modules())
    assert not any(m.training for g in groups(synced)[:2] for module in g for m in norms(module))
    assert_close(revert_sync_batchnorm(synced).eval()(x), before)


@every_net
def test_channels_last_and_export_give_the_same(net):
    backbone = randomise(build(net)).eval()
    x = images(net)
    expected = backbone(x)
    exported = torch.export.export(backbone, (x,)).module()
    assert_close(exported(x), expected)
    last = backbone.to(memory_format=torch.channels_last)
    assert_close(last(x.to(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-4)


@every_net
def test_the_prefixed_name_resolves_in_mmdet(net, mmdet_models):
    cfg = dict(net.cfg, type=f'mmblocks.{net.cfg["type"]}')
    assert type(mmdet_models.build(cfg)) is getattr(mmblocks, net.cfg['type'])
