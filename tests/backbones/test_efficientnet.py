"""EfficientNet's own: dropped paths, graphs, OpenMMLab's signatures, and bad arguments."""

import inspect

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.analysis import get_model_complexity_info
from torch.utils.flop_counter import FlopCounterMode

from mmblocks import EfficientNet
from mmblocks.layers.inverted_residual import InvertedResidual
from tests.parity import assert_same_maps, randomise

NARROW = dict(family='b', widen_factor=0.25, deepen_factor=0.3)


@pytest.fixture
def mmpretrain(peer):
    return peer('mmpretrain.models.backbones').EfficientNet


@pytest.fixture
def mmdet(mmdet_models):
    return mmdet_models.get('mmdet.EfficientNet')


def images():
    return torch.rand(2, 3, 65, 83)


def torchvision_net(peer, arch, **options):
    build = getattr(peer('torchvision.models'), f'efficientnet_{arch}')
    return build(num_classes=2, **options)


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
