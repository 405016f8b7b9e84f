"""CSPDarknet's own: C2f blocks against plain torch, mmdet's defaults, and bad arguments."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from mmblocks.backbones import CSPDarknet
from mmblocks.layers import C3, C2f
from tests.parity import assert_same_maps, gradients, randomise

pytestmark = pytest.mark.filterwarnings('ignore:.torch.cuda.amp.autocast:FutureWarning')

SMALL = dict(deepen_factor=0.33, widen_factor=0.25)


def images():
    # mmdet's focus layer takes even sizes only.
    return torch.rand(2, 3, 64, 86)


def test_the_defaults_give_mmdets_maps(mmdet_models):
    with torch.device('meta'):
        ours, theirs = CSPDarknet().eval(), mmdet_models.build(dict(type='mmdet.CSPDarknet'))
        theirs.eval()
        x = torch.empty(1, 3, 64, 64)
        assert [m.shape for m in ours(x)] == [m.shape for m in theirs(x)]
    assert ours.out_channels == (256, 512, 1024)
    assert ours.out_strides == (8, 16, 32)


def test_a_checkpoint_of_a_whole_detector_loads(mmdet_models, tmp_path):
    theirs = randomise(mmdet_models.build(dict(type='mmdet.CSPDarknet', **SMALL)))
    state = {f'backbone.{name}': value for name, value in theirs.state_dict().items()}
    state['bbox_head.multi_level_conv_cls.0.weight'] = torch.rand(3)
    torch.save(dict(state_dict=state), tmp_path / 'yolox.pth')
    checkpoint = dict(type='Pretrained', checkpoint=str(tmp_path / 'yolox.pth'), prefix='backbone.')
    ours = CSPDarknet(**SMALL, init_cfg=checkpoint)
    ours.init_weights()
    assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))


def test_frozen_stages_means_what_it_means_in_mmdet(mmdet_models):
    def trained(net):
        return {name for name, p in net.named_parameters() if p.requires_grad}

    for k in range(-1, 5):
        options = dict(SMALL, frozen_stages=k)
        theirs = mmdet_models.build(dict(type='mmdet.CSPDarknet', **options))
        theirs.train()  # mmdet freezes no sooner
        assert trained(CSPDarknet(**options)) == trained(theirs)


def test_the_signature_begins_as_mmdets(mmdet_models):
    theirs = inspect.signature(mmdet_models.get('mmdet.CSPDarknet').__init__).parameters
    ours = inspect.signature(CSPDarknet.__init__).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    # The default of init_cfg stands in the base, as for every net.
    assert all(ours[name].default == theirs[name].default for name in theirs if name != 'init_cfg')


def convolve(state, name, x, stride=1):
    """A convolution with BatchNorm in eval mode and SiLU."""
    x = F.conv2d(x, weight := state[f'{name}.conv.weight'], None, stride, weight.shape[-1] // 2)
    keys = ('running_mean', 'running_var', 'weight', 'bias')
    return F.silu(F.batch_norm(x, *(state[f'{name}.bn.{key}'] for key in keys), eps=1e-3))


def c2f_net_by_hand(state, x, num_blocks=(1, 3, 3, 1)):
    """All maps of the net of C2f blocks, written out."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    x = x.permute(0, 5, 3, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)
    maps = [x := convolve(state, 'stem.conv', x)]
    for i, count in enumerate(num_blocks, 1):
        x = convolve(state, f'stage{i}.0', x, stride=2)
        block = f'stage{i}.1'
        if i == 4:
            pools = [x := convolve(state, 'stage4.1.conv1', x)]
            pools += [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
            x = convolve(state, 'stage4.1.conv2', torch.cat(pools, 1))
            block = 'stage4.2'
        x = convolve(state, f'{block}.main_conv', x)
        pieces = [x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]]
        for j in range(count):
            out = convolve(state, f'{block}.blocks.{j}.conv1', pieces[-1])
            out = convolve(state, f'{block}.blocks.{j}.conv2', out)
            pieces.append(out if i == 4 else out + pieces[-1])
        maps.append(x := convolve(state, f'{block}.final_conv', torch.cat(pieces, 1)))
    return maps


def test_with_c2f_it_equals_plain_torch():
    net = randomise(CSPDarknet(**SMALL, block='C2f', out_indices=range(5))).eval()
    x = images()
    with torch.no_grad():
        assert_same_maps(net(x), c2f_net_by_hand(net.state_dict(), x))


def test_with_c2f_its_gradients_equal_plain_torchs():
    small = dict(deepen_factor=0.33, widen_factor=0.125, block='C2f', out_indices=range(5))
    net = randomise(CSPDarknet(**small)).double().eval()
    x = images().double()
    grads, dx = gradients(net, net, x)
    grads = {name: grad.clone() for name, grad in grads.items()}
    state = dict(net.named_parameters()) | dict(net.named_buffers())
    expected, expected_dx = gradients(net, lambda x: c2f_net_by_hand(state, x), x)
    assert len(grads) == len(list(net.parameters()))
    assert_close(grads, expected, rtol=1e-8, atol=1e-8)
    assert_close(dx, expected_dx, rtol=1e-8, atol=1e-8)


def test_parameters_with_c2f_are_the_sum_of_its_convolutions():
    # widen_factor 0.25: widths 16, 32, 64, 128 and 256; deepen_factor 0.33: 1, 3, 3, 1 blocks.
    def conv(kernel, width_in, width_out):
        return kernel * kernel * width_in * width_out + 2 * width_out

    stem = conv(3, 4 * 3, 16)
    stage1 = conv(3, 16, 32) + conv(1, 32, 32) + 2 * conv(3, 16, 16) + conv(1, 3 * 16, 32)
    stage2 = conv(3, 32, 64) + conv(1, 64, 64) + 6 * conv(3, 32, 32) + conv(1, 5 * 32, 64)
    stage3 = conv(3, 64, 128) + conv(1, 128, 128) + 6 * conv(3, 64, 64) + conv(1, 5 * 64, 128)
    pooling = conv(1, 256, 128) + conv(1, 4 * 128, 256)
    block4 = conv(1, 256, 256) + 2 * conv(3, 128, 128) + conv(1, 3 * 128, 256)
    stage4 = conv(3, 128, 256) + pooling + block4
    net = CSPDarknet(**SMALL, block='C2f')
    total = stem + stage1 + stage2 + stage3 + stage4
    assert sum(p.numel() for p in net.parameters()) == total


@pytest.mark.parametrize(('block', 'kind', 'other'), [('C3', C3, C2f), ('C2f', C2f, C3)])
def test_every_stage_has_the_block_that_was_asked_for(block, kind, other):
    net = CSPDarknet('P6', **SMALL, block=block, out_indices=5)
    assert sum(isinstance(m, kind) for m in net.modules()) == 5
    assert not any(isinstance(m, other) for m in net.modules())


@pytest.mark.parametrize('block', ['C3', 'C2f'])
def test_exported_once_it_takes_images_of_any_size(block):
    net = CSPDarknet(deepen_factor=0.33, widen_factor=0.125, block=block, out_indices=range(5))
    randomise(net).eval()
    sizes = {i: torch.export.Dim(name, min=33, max=512) for i, name in ((2, 'h'), (3, 'w'))}
    example = (torch.rand(2, 3, 64, 75),)
    exported = torch.export.export(net, example, dynamic_shapes=({**sizes},)).module()
    for size in ((64, 75), (97, 64), (65, 33), (128, 96)):
        x = torch.rand(2, 3, *size)
        assert_close(exported(x), net(x))


@pytest.mark.parametrize('block', ['C3', 'C2f'])
def test_depthwise_means_every_3x3_convolution_behind_the_stem(block):
    net = CSPDarknet(**SMALL, block=block, use_depthwise=True)
    spatial = {
        name: m
        for name, m in net.named_modules()
        if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    }
    plain = [name for name, m in spatial.items() if m.groups == 1]
    assert plain == ['stem.conv.conv']
    assert all(m.groups == m.in_channels for name, m in spatial.items() if name not in plain)


def test_init_cfg_reaches_every_convolution():
    init_cfg = dict(type='Constant', val=0.5, layer='Conv2d')
    net = CSPDarknet(**SMALL, use_depthwise=True, init_cfg=init_cfg)
    net.init_weights()
    assert all((m.weight == 0.5).all() for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='P7'), "arch='P7'.*P5.*P6"),
        (dict(block='C4'), "block='C4'.*C3.*C2f"),
        (dict(deepen_factor=0), 'deepen_factor=0: .*above 0'),
        (dict(widen_factor=-1.0), r'widen_factor=-1\.0: .*above 0'),
        (dict(widen_factor='1'), r"widen_factor='1': .*a number"),
        (dict(arch=['P5']), r"arch=\['P5'\]: must be one of \['P5', 'P6'\]"),
        (dict(block=['C3']), r"block=\['C3'\]: must be one of \['C3', 'C2f'\]"),
        (dict(arch_ovewrite=5), 'arch_ovewrite=5: must be a list of rows'),
        (dict(arch_ovewrite=[[8, 16, 1, 2, 0]]), r'arch_ovewrite\[0\]=.*two bools'),
        (dict(widen_factor=0.01), r'widen_factor=0\.01 .*no channels'),
        (dict(spp_kernal_sizes=(5, 8)), r'spp_kernal_sizes=\(5, 8\).*odd'),
        # Also where the pooling is behind the last output.
        (dict(spp_kernal_sizes=(4,), out_indices=0), 'spp_kernal_sizes'),
        (dict(out_indices=5), 'outputs are 0 to 4'),
        (dict(arch_ovewrite=[]), r'arch_ovewrite=\[\].*at least one row'),
        (dict(arch_ovewrite=[3, 4]), r'arch_ovewrite\[0\]=3.*num_blocks'),
        (dict(arch_ovewrite=[[8, 16, 1, True]]), r'arch_ovewrite\[0\]=.*use_spp.*two bools'),
        (dict(arch_ovewrite=[[8, 16, 0, True, False]]), r'arch_ovewrite\[0\]=.*positive ints'),
        (dict(arch_ovewrite=[[8, 16.0, 1, True, False]]), r'arch_ovewrite\[0\]=.*positive ints'),
        (dict(arch_ovewrite=[[8, 16, 1, 'yes', False]]), r'arch_ovewrite\[0\]=.*two bools'),
        (
            dict(arch_ovewrite=[[8, 16, 1, True, False], [24, 32, 1, True, False]]),
            r'arch_ovewrite\[1\]=.*in_channels=24.*16 output channels',
        ),
    ],
    ids=str,
)
def test_a_bad_argument_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        CSPDarknet(**options)
