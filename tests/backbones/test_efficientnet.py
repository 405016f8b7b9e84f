"""EfficientNet: equal to mmdet's, mmpretrain's, torchvision's and timm's."""

import inspect

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.analysis import get_model_complexity_info
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmblocks import EfficientNet
from mmblocks.layers.inverted_residual import InvertedResidual
from tests.parity import assert_same_gradients, assert_same_maps, randomise

GROUPS = range(7)
NARROW = dict(family='b', widen_factor=0.25, deepen_factor=0.3)
# What makes whose maps the same: padding and eps stand in no checkpoint.
SYMMETRIC = dict(conv_cfg=None, norm_cfg=dict(type='BN'))
SYMMETRIC_EPS = dict(conv_cfg=None)
RELU = dict(act_cfg=dict(type='ReLU'))


@pytest.fixture
def mmpretrain(peer):
    return peer('mmpretrain.models.backbones').EfficientNet


@pytest.fixture
def mmdet(mmdet_models):
    return mmdet_models.get('mmdet.EfficientNet')


@pytest.fixture
def rates_off_meta(monkeypatch):
    """OpenMMLab's nets read numbers from a tensor while they are built."""
    linspace = torch.linspace
    monkeypatch.setattr(torch, 'linspace', lambda *args: linspace(*args, device='cpu'))


def images():
    return torch.rand(2, 3, 65, 83)


def ours_from(theirs, arch, state_dict=None, **options):
    net = EfficientNet(arch, out_indices=GROUPS, **options).eval()
    incompatible = net.load_state_dict(state_dict or theirs.state_dict())
    assert incompatible.missing_keys == incompatible.unexpected_keys == []
    return net


def torchvision_net(peer, arch, **options):
    build = getattr(peer('torchvision.models'), f'efficientnet_{arch}')
    return build(num_classes=2, **options)


def torchvision_maps(model, x):
    return last_of_each_group(x, list(model.features))


def timm_net(peer, name, **options):
    return peer('timm').create_model(name, num_classes=2, **options)


def timm_maps(model, x):
    stem = nn.Sequential(model.conv_stem, model.bn1)
    head = nn.Sequential(model.conv_head, model.bn2)
    return last_of_each_group(x, [stem, *model.blocks, head])


def last_of_each_group(x, stages):
    """Runs the paper's stages; the fifth and, if there is one, the seventh keep the size."""
    maps = []
    for i, stage in enumerate(stages):
        x = stage(x)
        if i != 4 and (i != 6 or len(stages) == 8):
            maps.append(x)
    return maps


def test_it_equals_mmdet(mmdet):
    theirs = randomise(mmdet('b0', out_indices=GROUPS))
    theirs.eval()  # its eval() returns nothing
    ours = ours_from(theirs, 'b0')
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


@pytest.mark.parametrize(('arch', 'options'), [('b0', {}), ('es', RELU)])
def test_it_equals_mmpretrain(arch, options, mmpretrain):
    theirs = randomise(mmpretrain(arch, out_indices=GROUPS, **options))
    theirs.eval()
    ours = ours_from(theirs, arch, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = images()
    with torch.no_grad():
        assert_same_maps(ours(x), theirs(x))


def test_it_equals_torchvision(peer):
    theirs = randomise(torchvision_net(peer, 'b0')).eval()
    x = images()
    with torch.no_grad():
        maps = ours_from(theirs, 'b0', **SYMMETRIC)(x)
        assert_same_maps(maps, torchvision_maps(theirs, x))
        *same, logits = ours_from(theirs, 'b0', num_classes=2, **SYMMETRIC)(x)
        assert_same_maps([*same, logits], [*maps, theirs(x)])


@pytest.mark.parametrize(
    ('name', 'arch', 'options'),
    [
        ('efficientnet_b0', 'b0', SYMMETRIC),
        ('tf_efficientnet_b0', 'b0', {}),
        ('efficientnet_es', 'es', SYMMETRIC | RELU),
        ('tf_efficientnet_es', 'es', RELU),
    ],
)
def test_it_equals_timm(name, arch, options, peer):
    theirs = randomise(timm_net(peer, name)).eval()
    x = images()
    with torch.no_grad():
        maps = ours_from(theirs, arch, **options)(x)
        assert_same_maps(maps, timm_maps(theirs, x))
        *same, logits = ours_from(theirs, arch, num_classes=2, **options)(x)
        assert_same_maps([*same, logits], [*maps, theirs(x)])


def test_gradients_equal_mmpretrains(mmpretrain):
    theirs = randomise(mmpretrain('b0', out_indices=GROUPS))
    ours = ours_from(theirs, 'b0')
    assert_same_gradients(ours, theirs, theirs, images())


def test_gradients_equal_torchvisions(peer):
    theirs = randomise(torchvision_net(peer, 'b0', stochastic_depth_prob=0.0))
    ours = ours_from(theirs, 'b0', **SYMMETRIC)
    assert_same_gradients(ours, theirs, lambda x: torchvision_maps(theirs, x), images())


def test_gradients_equal_timms(peer):
    theirs = randomise(timm_net(peer, 'efficientnet_es'))
    ours = ours_from(theirs, 'es', **SYMMETRIC, **RELU)
    assert_same_gradients(ours, theirs, lambda x: timm_maps(theirs, x), images())


@pytest.mark.usefixtures('rates_off_meta')
@pytest.mark.parametrize('arch', [a for a in EfficientNet.arch_settings if a != 'el'])
def test_every_arch_takes_mmpretrains_weights(arch, mmpretrain):
    with torch.device('meta'):
        theirs = mmpretrain(arch)
        assert list(ours_from(theirs, arch).state_dict()) == list(theirs.state_dict())


@pytest.mark.usefixtures('rates_off_meta')
@pytest.mark.parametrize('arch', [a for a in EfficientNet.arch_settings if a not in ('l2', 'el')])
def test_every_arch_takes_mmdets_weights(arch, mmdet):
    with torch.device('meta'):
        theirs = mmdet(arch)
        assert list(ours_from(theirs, arch).state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize('arch', [f'b{i}' for i in range(8)])
def test_every_arch_takes_torchvisions_weights(arch, peer):
    with torch.device('meta'):
        theirs = torchvision_net(peer, arch)
        ours = ours_from(theirs, arch, **(SYMMETRIC if arch < 'b5' else SYMMETRIC_EPS))
    assert eps(ours) == eps(theirs)


@pytest.mark.parametrize('arch', EfficientNet.arch_settings)
def test_every_arch_takes_timms_weights(arch, peer):
    with torch.device('meta'):
        theirs = timm_net(peer, f'efficientnet_{arch}')
        ours = ours_from(theirs, arch, **SYMMETRIC)
    assert eps(ours) == eps(theirs)


@pytest.mark.parametrize('arch', ['b1', 'b8', 'em'])
def test_the_default_has_the_eps_of_timms_tensorflow_nets(arch, peer):
    with torch.device('meta'):
        theirs = timm_net(peer, f'tf_efficientnet_{arch}')
        ours = ours_from(theirs, arch)
    assert eps(ours) == eps(theirs)


def eps(net):
    return {m.eps for m in net.modules() if isinstance(m, nn.BatchNorm2d)}


def test_l2_has_as_many_parameters_as_published():
    # The number of mmpretrain's model zoo, its classifier of 1000 included.
    with torch.device('meta'):
        parameters = sum(p.numel() for p in EfficientNet('l2').parameters())
    assert parameters + (5504 + 1) * 1000 == 480_309_308


@pytest.mark.parametrize('library', ['mmdet', 'mmpretrain'])
def test_the_signature_begins_as_openmmlabs(library, request):
    theirs = inspect.signature(request.getfixturevalue(library)).parameters
    ours = inspect.signature(EfficientNet).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # init_cfg's stands in the base; the padding is the same; nothing is frozen by default;
    # out_indices depends on num_classes.
    others = {'init_cfg', 'conv_cfg', 'frozen_stages', 'out_indices'}
    assert all(ours[name].default == theirs[name].default for name in theirs.keys() - others)


def drop_path_rates(net):
    return [
        getattr(block.drop_path, 'drop_prob', 0.0)
        for block in net.modules()
        if hasattr(block, 'drop_path')
    ]


def test_drop_path_grows_in_equal_steps_as_mmdets(mmdet):
    rates = drop_path_rates(EfficientNet('b0', drop_path_rate=0.3))
    assert rates == pytest.approx([0.3 * i / 15 for i in range(16)])
    assert rates == pytest.approx(drop_path_rates(mmdet('b0', drop_path_rate=0.3)))
    # The rates are those of the whole net, wherever it ends.
    cut = drop_path_rates(EfficientNet('b0', drop_path_rate=0.3, out_indices=(2, 3)))
    assert cut == rates[: len(cut)]
    assert len(cut) == 5


def test_drop_path_drops_in_training_alone():
    nets = [EfficientNet(NARROW, drop_path_rate=rate, norm_eval=True) for rate in (0.0, 0.9)]
    plain, dropping = (randomise(net) for net in nets)
    assert not any(isinstance(m, DropPath) for m in plain.modules())
    x = images()
    with torch.no_grad():
        assert not torch.equal(dropping.train()(x)[0], plain.train()(x)[0])
        assert torch.equal(dropping.eval()(x)[0], plain.eval()(x)[0])


def test_a_block_with_a_shortcut_drops_by_sample():
    net = randomise(EfficientNet('b0', drop_path_rate=0.5, out_indices=2, norm_eval=True)).train()
    block = net.get_submodule('layers.2.1')
    assert isinstance(block, InvertedResidual)
    x = torch.rand(400, 24, 2, 2)
    skipped = (block(x) == x).flatten(1).all(1).float().mean()
    assert skipped == pytest.approx(0.5 * 2 / 15, abs=0.04)


@pytest.mark.parametrize('family', ['b', 'e'])
def test_one_exported_graph_takes_images_of_other_sizes(family):
    net = randomise(EfficientNet(dict(NARROW, family=family), out_indices=(2, 3, 4, 5))).eval()
    sizes = {axis: torch.export.Dim(name, min=33, max=2048) for axis, name in ((2, 'h'), (3, 'w'))}
    exported = torch.export.export(net, (images(),), dynamic_shapes=(sizes,)).module()
    for shape in ((64, 64), (97, 130)):
        x = torch.rand(2, 3, *shape)
        assert_same_maps(exported(x), net(x))


@pytest.mark.parametrize('family', ['b', 'e'])
def test_one_traced_graph_takes_images_of_other_sizes(family, peer, tmp_path):
    net = randomise(EfficientNet(dict(NARROW, family=family), out_indices=(2, 3, 4, 5))).eval()
    traced = torch.jit.trace(net, images())
    path = str(tmp_path / 'net.onnx')
    axes = {axis: str(axis) for axis in (0, 2, 3)}
    peer('onnx')
    torch.onnx.export(
        net, (images(),), path, dynamo=False, input_names=['x'], dynamic_axes={'x': axes}
    )
    session = peer('onnxruntime').InferenceSession(path, providers=['CPUExecutionProvider'])
    for shape in ((64, 64), (97, 130)):
        x = torch.rand(2, 3, *shape)
        maps = net(x)
        assert_same_maps(traced(x), maps)
        run = session.run(None, {'x': x.numpy()})
        assert_same_maps([torch.from_numpy(np.asarray(out)) for out in run], maps)


def test_its_complexity_can_be_analysed():
    net = EfficientNet(NARROW).eval()
    found = get_model_complexity_info(net, (3, 64, 64), show_table=False, show_arch=False)
    assert found['params'] == sum(p.numel() for p in net.parameters())
    with FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, 64, 64))
    # It counts a product and its sum as one, and norms and poolings too.
    assert found['flops'] >= counter.get_total_flops() / 2


def test_the_share_dropped_in_front_of_the_classifier_is_the_papers(peer):
    archs = [f'b{i}' for i in range(8)]
    with torch.device('meta'):
        rates = [EfficientNet(arch, num_classes=2).dropout.p for arch in archs]
        theirs = [torchvision_net(peer, arch).classifier[0].p for arch in archs]
        assert EfficientNet(NARROW, num_classes=2, drop_rate=0.7).dropout.p == 0.7
    assert rates == theirs


def test_a_dict_scales_a_family():
    assert repr(EfficientNet(dict(family='e', widen_factor=1.0, deepen_factor=1.1))) == repr(
        EfficientNet('em')
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='b9'), "arch='b9'.*'b8'.*family"),
        (dict(arch=None), "arch=None.*'b8'"),
        (dict(arch=['b0']), r"arch=\['b0'\].*'b8'"),
        (
            dict(arch=NARROW | dict(widen_factor='1')),
            'arch=.*widen_factor must be .* above 0',
        ),
        (dict(arch=dict(family='b')), 'arch=.*must have the keys .*widen_factor'),
        (dict(arch=NARROW | dict(family='x')), r"arch=.*family must be one of \['b', 'e'\]"),
        (dict(arch=NARROW | dict(deepen_factor=0)), 'arch=.*deepen_factor must be .* above 0'),
        (dict(drop_path_rate=1.0), 'drop_path_rate=1.0: .*below 1'),
        (dict(drop_path_rate=-0.1), 'drop_path_rate=-0.1: .*of at least 0'),
        (dict(drop_path_rate='a'), "drop_path_rate='a': must be a number"),
        (dict(drop_rate=2), 'drop_rate=2: must be a number from 0 to 1'),
        (dict(out_indices=(7,)), 'outputs are 0 to 6'),
    ],
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        EfficientNet(**options)
