"""Every net of ours equals the same net of other libraries; see the table in pairs.py."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

import mmblocks
from tests.pairs import PAIRS, SAME_KEYS, SAME_ORDER, SHAPES
from tests.parity import assert_same_maps, gradients
from tests.peers import build_peer, build_random_peer, meta_device, peer_outputs, undrawn

pytestmark = [
    # mmpretrain's VGG has biases in front of its norms, as published, and mmcv doubts that.
    pytest.mark.filterwarnings('ignore:Unnecessary conv bias:UserWarning'),
    # mmcv's HSigmoid announces an old change of its defaults.
    pytest.mark.filterwarnings('ignore:In MMCV v1.4.4:UserWarning'),
    pytest.mark.filterwarnings('ignore:.torch.cuda.amp.autocast:FutureWarning'),
]


def build(cfg):
    with undrawn():
        return MODELS.build(dict(cfg, type=f'mmblocks.{cfg["type"]}'))


def load(ours, theirs, has_more=False, **options):
    """Loads the peer's state dict; checks that each of our tensors is in it and what is left."""
    keys = ours.load_state_dict(theirs.state_dict(), strict=False, **options)
    assert keys.missing_keys == []
    assert bool(keys.unexpected_keys) == has_more
    return ours


def without_classifier(cfg):
    return {key: value for key, value in cfg.items() if key != 'num_classes'}


def title(pair):
    options = {k: v for k, v in pair.cfg.items() if k not in ('type', 'out_indices')}
    return f'{pair}-{",".join(f"{k}={v}" for k, v in options.items())}'.replace(' ', '')


def norms(net):
    return [module for module in net.modules() if isinstance(module, _BatchNorm)]


def assert_same_keys(pair, ours, theirs):
    """Checks names, their order and shapes; theirs may have more."""
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    expected = {n: tensor.shape for n, tensor in theirs.state_dict().items() if n in shapes}
    assert shapes == expected
    assert list(shapes) == list(expected) or pair.cfg['type'] not in SAME_ORDER
    trained = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert trained == {n for n, p in theirs.named_parameters() if p.requires_grad and n in shapes}


def assert_dilated(ours, cfg):
    """Checks that no stride is above the limit, and the others are those of the plain net."""
    plain = {key: value for key, value in cfg.items() if key != 'output_stride'}
    strides = [info.stride for info in mmblocks.feature_info(plain)]
    assert max(ours.out_strides) == cfg['output_stride']
    assert list(ours.out_strides) == [min(stride, cfg['output_stride']) for stride in strides]


@pytest.mark.parametrize('pair', PAIRS, ids=title)
def test_outputs_are_the_same(pair, peer, mmdet_models):
    theirs = build_random_peer(pair, peer, mmdet_models)
    ours = load(build(pair.cfg).eval(), theirs, pair.has_more, assign=True)
    # timm's nets that give features alone have other names.
    if str(pair) in SAME_KEYS and 'features_only' not in pair.options:
        assert_same_keys(pair, ours, theirs)
    if 'output_stride' in pair.cfg:
        assert_dilated(ours, pair.cfg)
    x = torch.rand(2 if max(pair.size) < 200 else 1, pair.channels, *pair.size)
    with torch.no_grad():
        outputs = ours(x)
        assert_same_maps(outputs, peer_outputs(pair, theirs, x))
        if 'num_classes' in pair.cfg and 'out_indices' in pair.cfg:
            # Without classifier its weights are left out.
            trunk = load(build(without_classifier(pair.cfg)).eval(), theirs, assign=True)
            assert_close(trunk(x), outputs[:-1])


@pytest.mark.parametrize('pair', [pair for pair in PAIRS if pair.gradients], ids=title)
def test_gradients_and_statistics_are_the_same(pair, peer, mmdet_models):
    theirs = build_random_peer(pair, peer, mmdet_models).double()
    ours = copy.deepcopy(load(build(pair.cfg), theirs, assign=True))
    expected = copy.deepcopy(ours)
    x = torch.rand(2, pair.channels, *pair.size, dtype=torch.float64)
    theirs.train()
    grads, dx = gradients(ours.train(), ours, x)
    _, their_dx = gradients(theirs, lambda x: peer_outputs(pair, theirs, x), x)
    # Their gradients take the weights' way into a net of ours, and so do their statistics.
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros(()) if parameter.grad is None else parameter.grad)
    load(expected, theirs)
    close = dict(rtol=pair.rtol, atol=pair.rtol)
    assert_close(dx, their_dx, **close)
    assert_close(grads, dict(expected.named_parameters()), **close)
    assert_close(dict(ours.named_buffers()), dict(expected.named_buffers()), **close)


@pytest.mark.parametrize('pair', SHAPES, ids=title)
def test_every_tensor_finds_its_place(pair, peer, mmdet_models):
    with meta_device():
        theirs = build_peer(pair, peer, mmdet_models)
        ours = load(build(pair.cfg), theirs)
    if str(pair) in SAME_KEYS:
        assert_same_keys(pair, ours, theirs)
    # What no checkpoint says.
    assert {norm.eps for norm in norms(ours)} == {norm.eps for norm in norms(theirs)}
    if 'num_classes' in pair.cfg:
        with meta_device():
            load(build(without_classifier(pair.cfg)), theirs)
