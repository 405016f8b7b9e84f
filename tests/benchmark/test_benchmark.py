"""The benchmark compares like with like, and counts what it says."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmblocks.benchmark.contest import Settings, measure, ratio
from mmblocks.benchmark.measure import bytes_kept, convolutions_of
from mmblocks.benchmark.modes import CPU_MODES, Mode
from mmblocks.benchmark.nets import NETS
from mmblocks.benchmark.peers import build, import_libraries
from mmblocks.cli.benchmark import main
from mmblocks.utils.probe import skip_batch_norms
from tests.backbones.nets import NETS as EVERY_NET
from tests.peers import meta_device

BY_TITLE = {net.title: net for net in NETS}


@pytest.fixture(autouse=True)
def _settings_of_torch():
    """The command runs in a process of its own, and leaves torch as it has set it."""
    yield
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)


@pytest.fixture(scope='module')
def modules(peer, mmdet_models):
    found, errors = import_libraries()
    assert errors == {}
    return found


def cost(model, in_channels):
    """Counts the MACs and the parameters of a net on the meta device."""
    model.eval()  # OpenMMLab's returns nothing
    image = torch.empty(1, in_channels, 64, 64, device='meta')
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        skip_batch_norms(model)(image)
    return counter.get_total_flops(), sum(p.numel() for p in model.parameters())


def test_every_backbone_that_has_peers_is_in_the_table():
    without = {'NIN'}
    assert {net.cfg['type'] for net in NETS} == {net.cfg['type'] for net in EVERY_NET} - without


@pytest.mark.filterwarnings('ignore:In MMCV v1.4.4:UserWarning')
@pytest.mark.parametrize('net', NETS, ids=lambda net: net.title)
def test_peers_compute_as_much_from_as_many_parameters(net, modules):
    with meta_device():
        costs = {
            library: cost(build(net, library, modules), net.in_channels)
            for library in ('mmblocks', *net.peers)
        }
    assert len(costs) > 1
    assert len(set(costs.values())) == 1, costs


def test_bytes_are_those_that_autograd_saves():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(inplace=True))
    x = torch.rand(2, 3, 9, 9)
    storages = {}

    def keep(tensor):
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = net(x)
    for held in (x, *net.parameters(), *net.buffers()):
        storages.pop(held.untyped_storage().data_ptr(), None)
    assert out.shape == (2, 4, 7, 7)
    assert bytes_kept(net, x) == sum(storages.values())


@pytest.mark.parametrize('training', [False, True])
def test_the_floor_is_every_convolution_and_nothing_else(training):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1)).train(training)
    x = torch.rand(2, 3, 9, 9)
    run = Mode('', '', 2, 9, training).run_of(net, x)
    flops = []
    for each in (run, convolutions_of(run, 'cpu')):
        with FlopCounterMode(display=False) as counter:
            each()
        flops.append(counter.get_total_flops())
    assert flops[0] == flops[1] > 0


def test_each_mode_measures_each_peer_and_form(modules):
    mode = next(mode for mode in CPU_MODES if mode.training)._replace(size=32)
    settings = Settings([mode], rounds=2, forms=('with_cp', 'norm_act', 'channels_last'))
    measured = measure(BY_TITLE['LeNet5'], modules, settings)
    kept = measured['bytes kept for backward']
    assert measured[mode.title].keys() == {*kept, 'convolutions alone'}
    assert kept['with_cp'] < kept['mmblocks']
    assert ratio(measured[mode.title]).peer == 'mmpretrain'


def test_the_command_writes_table_json_and_picture(run_command, peer, tmp_path):
    args = ('--only', 'lenet5', '--rounds', '2', '--modes', 'training', '--out', tmp_path)
    code, out, _ = run_command(main, 'benchmark', *args)
    assert code == 0
    page = (tmp_path / 'benchmarks.md').read_text()
    assert page in out
    assert '| LeNet5 ' in page
    assert 'geometric mean' in page
    found = json.loads((tmp_path / 'benchmarks.json').read_text())['nets']['LeNet5']
    entry = found['training 4 x 160 px']['mmblocks']
    assert entry['to'] == 'mmpretrain'
    assert 'median' not in entry, 'an absolute time stands nowhere but for a GPU'
    assert (tmp_path / 'images' / 'benchmark.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    ('args', 'said'),
    [
        (('--only', 'ResNet-51'), 'did you mean resnet-50'),
        (('--rounds', '1'), '--rounds'),
        (('--threads', '0'), '--threads'),
    ],
)
def test_what_cannot_be_measured_is_one_line(run_command, args, said):
    code, out, err = run_command(main, 'benchmark', *args)
    assert (code, out) == (2, '')
    assert said in err
