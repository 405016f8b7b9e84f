"""Weights go to other libraries and come back unchanged."""

import functools
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from mmblocks import ResNet, SqueezeNet
from mmblocks.cli.convert import main
from mmblocks.describe.catalog import build_on_meta
from mmblocks.describe.libraries import libraries_with
from mmblocks.utils.errors import UserError
from mmblocks.weights.convert import convert_weights, named_as
from mmblocks.weights.files import read_checkpoint
from mmblocks.weights.key_mapping import rename_keys
from mmblocks.weights.saving import remove_parts, save_weights
from tests.killed import limit_files, limits_put_back, signal_that_ended
from tests.pairs import one_of_each
from tests.parity import assert_same_maps, randomise
from tests.peers import build_peer, meta_device, peer_outputs, without_wide_layers

ROOT = Path(__file__).resolve().parents[2]


# Of the pairs whose names differ one for every way to differ, and one whose names are the same.
RUN = [
    pair
    for pair in one_of_each()
    if str(pair)
    in (
        'ResNetV1d-mmpretrain',
        'ResNetV1d-timm',
        'SEResNet-timm',
        'MobileNetV2-mmpretrain',
        'MobileNetV2-torchvision',
        'MobileNetV3-torchvision',
        'ShuffleNetV2-torchvision',
        'EfficientNet-timm',
        'DenseNet-mmpretrain',
        'VGG-mmpretrain',
        'GhostNet-timm',
    )
]


def on_meta(cfg, **options):
    return build_on_meta(dict(cfg, **options))


def whole(cfg):
    """A net with all of its groups, and which of its outputs its config asks for."""
    wanted = on_meta(cfg).out_indices
    (last,) = on_meta(cfg, out_indices=-1).out_indices
    indices = sorted({*wanted, last})
    net = randomise(on_meta(cfg, out_indices=indices).to_empty(device='cpu')).eval()
    for i, (name, buffer) in enumerate(net.named_buffers()):
        if name.endswith('num_batches_tracked'):
            buffer.fill_(i)
    return net, [indices.index(i) for i in wanted]


def peer_on_meta(*args):
    with meta_device():
        return without_wide_layers(build_peer(*args))


def emptied(model):
    """A model that gives nothing but NaN where it gets no weights."""
    model = model.to_empty(device='cpu')
    for tensor in model.state_dict().values():
        tensor.fill_(float('nan') if tensor.is_floating_point() else -1)
    model.eval()  # OpenMMLab's returns nothing
    return model


def names_in(library, net, cfg):
    libraries = libraries_with(cfg, net)
    mappings = getattr(net, 'key_mappings', ())
    return named_as(net.state_dict(), library, mappings, libraries, cfg['type'])


def convert(cfg, source, target, to):
    net = on_meta(cfg, out_indices=-1)
    conversion = convert_weights(net, str(source), to, libraries_with(cfg, net))
    save_weights(conversion.state_dict, target)
    return conversion


def assert_same_file(a, b):
    a, b = read_checkpoint(str(a)), read_checkpoint(str(b))
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert tensor.dtype == b[name].dtype
        assert torch.equal(tensor, b[name]), name


@pytest.mark.parametrize('pair', one_of_each(), ids=str)
def test_every_name_of_a_peers_trunk_is_written(pair, peer, mmdet_models):
    ours = on_meta(pair.cfg, out_indices=-1)
    keys = set(ours.state_dict())
    named, unwritten = names_in(pair.library, ours, pair.cfg)
    assert (len(named), unwritten) == (len(keys), ())
    theirs = peer_on_meta(pair, peer, mmdet_models)
    names = list(theirs.state_dict())
    renamed = rename_keys(names, getattr(ours, 'key_mappings', ()))
    trunk = {name for name in names if renamed.get(name, name) in keys}
    assert trunk <= set(named)
    # Some of OpenMMLab's do not build what lies behind the last output.
    assert set(named) - trunk <= keys - set(on_meta(pair.cfg).state_dict())
    # Of the right sizes, too.
    theirs.load_state_dict(named, strict=False, assign=True)
    ours.load_state_dict(named, assign=True)


@pytest.mark.parametrize('pair', RUN, ids=str)
def test_our_weights_give_our_maps_in_the_peer_and_come_back(pair, peer, mmdet_models, tmp_path):
    ours, wanted = whole(pair.cfg)
    own, there, full, back, again = (
        tmp_path / name
        for name in ('own.pth', 'there.safetensors', 'full.pth', 'back.pth', 'again.safetensors')
    )
    save_weights(ours.state_dict(), own)
    conversion = convert(pair.cfg, own, there, pair.library)
    assert len(conversion.state_dict) == len(ours.state_dict())
    theirs = emptied(peer_on_meta(pair, peer, mmdet_models))
    theirs.load_state_dict(read_checkpoint(str(there)), strict=False)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        outs = ours(x)
        assert_same_maps([outs[i] for i in wanted], peer_outputs(pair, theirs, x))
    # With what else it may have, such as a classifier.
    save_weights(theirs.state_dict(), full)
    convert(pair.cfg, full, back, 'mmblocks')
    assert_same_file(own, back)
    convert(pair.cfg, back, again, pair.library)
    assert_same_file(there, again)


def saved(folder, state_dict, name='net.pth'):
    torch.save(state_dict, folder / name)
    return folder / name


@pytest.fixture
def resnet():
    return randomise(ResNet(18, base_channels=8)).state_dict()


TINY = dict(type='ResNet', depth=18, base_channels=8)


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_keep_their_dtype_and_the_order_of_the_net(suffix, dtype, resnet, tmp_path):
    given = {k: v.to(dtype) if v.is_floating_point() else v for k, v in resnet.items()}
    source = saved(tmp_path, dict(reversed(given.items())))
    conversion = convert(TINY, source, tmp_path / f'out{suffix}', 'mmblocks')
    assert list(conversion.state_dict) == list(resnet)
    out = read_checkpoint(str(tmp_path / f'out{suffix}'))
    assert all(torch.equal(out[key], value) for key, value in given.items())
    assert {value.dtype for value in out.values()} == {dtype, torch.int64}


def test_a_whole_model_gives_the_net_in_it_and_it_is_said_what_was_left_out(resnet, tmp_path):
    model = {f'backbone.{key}': value for key, value in resnet.items()}
    model['backbone.fc.weight'] = model['backbone.extra'] = model['head.weight'] = torch.ones(1)
    source = saved(tmp_path, dict(state_dict=model, meta=dict(epoch=1)))
    conversion = convert(TINY, source, tmp_path / 'out.pth', 'timm')
    assert str(conversion).splitlines() == [
        f'ResNet from {source}',
        '  names      torchvision under backbone. -> timm',
        '  tensors    120 written, 1 of other parts left out',
        '  2 left out, as the net has no place for them: fc.weight, extra',
    ]
    assert conversion.state_dict.keys() == resnet.keys()


def test_counters_that_a_file_lacks_are_not_made_up(resnet, tmp_path):
    given = {key: value for key, value in resnet.items() if 'num_batches' not in key}
    conversion = convert(TINY, saved(tmp_path, given), tmp_path / 'out.pth', 'mmblocks')
    assert conversion.state_dict.keys() == given.keys()


def test_a_net_without_its_last_groups_is_converted_when_that_is_said(run_tool, resnet, tmp_path):
    some = {k: v for k, v in resnet.items() if not k.startswith(('layer3', 'layer4'))}
    args = (saved(tmp_path, some), tmp_path / 'out.pth', '--arch', 'ResNet', *OPTIONS)
    code, _, err = run_tool(*args)
    assert code == 2
    assert 'one without its last groups? Then give the out_indices that it had' in err
    assert run_tool(*args, 'out_indices=0,1')[0] == 0
    assert read_checkpoint(str(tmp_path / 'out.pth')).keys() == some.keys()


def test_what_a_file_lacks_is_named(resnet, tmp_path):
    del resnet['layer4.1.conv2.weight']
    conversion = convert(TINY, saved(tmp_path, resnet), tmp_path / 'out.pth', 'mmblocks')
    assert '  1 missing in the source: layer4.1.conv2.weight' in str(conversion)


def test_detectron2_names_are_written(resnet, tmp_path):
    source, there = saved(tmp_path, resnet), tmp_path / 'there.pth'
    convert(TINY, source, there, 'detectron2')
    names = set(read_checkpoint(str(there)))
    assert {'stem.conv1.norm.bias', 'res2.1.conv2.weight', 'res5.0.shortcut.norm.bias'} <= names
    assert not any(name.startswith(('layer', 'conv1', 'bn1')) for name in names)
    convert(TINY, there, tmp_path / 'back.pth', 'mmblocks')
    assert_same_file(tmp_path / 'back.pth', source)


@pytest.mark.parametrize('library', ['torchvision', 'timm', 'mmpretrain'])
def test_a_classifier_of_the_net_is_written_too(library, peer):
    cfg = dict(type='VGG', depth=11, num_classes=1000)
    named, unwritten = names_in(library, on_meta(cfg), cfg)
    assert unwritten == ()
    with torch.device('meta'):
        theirs = (
            peer('mmpretrain.models.backbones').VGG(11, num_classes=1000)
            if library == 'mmpretrain'
            else peer('timm').create_model('vgg11')
            if library == 'timm'
            else peer('torchvision.models').vgg11()
        )
    theirs.load_state_dict(named, assign=True)
    on_meta(cfg).load_state_dict(named, assign=True)


@pytest.mark.parametrize(
    ('net', 'mapping', 'name'),
    [
        ('DenseNet', 'timm with features_only', 'features_norm5.weight'),
        ('EfficientNet', 'mmdet', 'layers.6.bn.weight'),
    ],
)
def test_a_classifier_that_a_library_has_no_place_for_is_left_out(net, mapping, name):
    cfg = dict(type=net, num_classes=5)
    named, unwritten = names_in(mapping, on_meta(cfg), cfg)
    assert unwritten == ('classifier.weight', 'classifier.bias')
    assert name in named


@pytest.mark.parametrize('cfg', [dict(type='DenseNet'), dict(type='EfficientNet')], ids=str)
def test_a_classifier_that_mmpretrain_keeps_in_its_head_is_written_there(cfg):
    cfg = dict(cfg, num_classes=5)
    net = on_meta(cfg)
    named, unwritten = names_in('mmpretrain', net, cfg)
    assert unwritten == ()
    heads = {name for name in named if not name.startswith('backbone.')}
    assert heads == {'head.fc.weight', 'head.fc.bias'}
    # A file of the backbone alone stays one.
    trunk = {k: v for k, v in net.state_dict().items() if not k.startswith('classifier.')}
    alone = named_as(trunk, 'mmpretrain', net.key_mappings, ['mmpretrain'], cfg['type'])
    assert {f'backbone.{name}' for name in alone.state_dict} == named.keys() - heads


@pytest.mark.parametrize(
    ('cfg', 'libraries'),
    [
        (
            dict(type='ResNet', depth=50),
            ['detectron2', 'mmdet', 'mmpretrain', 'timm', 'torchvision'],
        ),
        (dict(type='ResNet', depth=50, deep_stem=True), ['mmdet', 'mmpretrain', 'timm']),
        (dict(type='SEResNet', depth=18), ['mmpretrain', 'timm']),
        (dict(type='CSPDarknet'), ['mmdet']),
        (dict(type='CSPDarknet', block='C2f'), []),
        (dict(type='ShuffleNetV1', groups=3), ['mmpretrain']),
        # Its norms would be called gn1 and gn2.
        (dict(type='ResNet', depth=18, norm_cfg=dict(type='GN', num_groups=32)), []),
        (dict(type='GoogLeNet', num_classes=7), ['torchvision']),
    ],
    ids=str,
)
def test_only_libraries_that_have_a_net_of_these_parts_are_offered(cfg, libraries):
    assert libraries_with(cfg, on_meta(cfg, out_indices=-1)) == libraries


@pytest.fixture
def run_tool(run_command):
    """Runs the tool in this process; gives its exit code and what it printed."""
    return functools.partial(run_command, main, 'convert_weights.py')


OPTIONS = ('--arch-options', 'depth=18', 'base_channels=8')


@pytest.mark.parametrize(
    ('args', 'expected'),
    [
        (('gone.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS), r'not found: gone\.pth'),
        (('net.pth', 'out.pth', '--arch', 'ResNett', *OPTIONS), r'--arch ResNett: .*mean ResNet'),
        (('net.pth', 'out.pth', '--arch', 'ResNet'), r'ResNet needs depth: --arch-options depth='),
        (
            ('net.pth', 'out.pth', '--arch', 'ResNet', '--arch-options', 'deph=18'),
            r'--arch-options: ResNet has no deph; .*did you mean depth\?',
        ),
        (
            ('net.pth', 'out.pth', '--arch', 'ResNet', '--arch-options', 'depth=17'),
            r'ResNet: depth=17: must be one of',
        ),
        (
            ('net.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS, '--to', 'torchvison'),
            r'--to torchvison: ResNet .* mmblocks, detectron2, mmdet, .*mean torchvision\?',
        ),
        (
            ('net.pth', 'out.pth', '--arch', 'GhostNet', '--to', 'torchvision'),
            r'--to torchvision: GhostNet with these options can be written for mmblocks, timm$',
        ),
        (('net.pth', 'net.pth', '--arch', 'ResNet', *OPTIONS), r'there already; --force replaces'),
        (
            ('net.pth', 'net.pth', '--force', '--arch', 'ResNet', *OPTIONS),
            r'net\.pth is the source itself',
        ),
        (('net.pth', '.', '--arch', 'ResNet', *OPTIONS), r'\.pth or \.safetensors, by the suffix'),
        (('net.pth', 'out.bin', '--arch', 'ResNet', *OPTIONS), r'out\.bin: weights are written as'),
        (
            ('net.pth', 'out.pth', '--arch', 'MobileNetV2'),
            r'only 0 of 260 tensors of MobileNetV2 found .*are they of another net.*out_indices=',
        ),
        (
            ('net.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS, 'in_channels=1'),
            r'for images of other channels',
        ),
        (
            ('net.pth', 'out-0123abcd.pth', '--arch', 'ResNet', *OPTIONS),
            r'the SHA-256 \w{8}\.\.\., not the 0123abcd .*: name it out-\w{8}\.pth',
        ),
        (
            ('net.pth', 'net.pth/out.pth', '--arch', 'ResNet', *OPTIONS),
            r'net\.pth/out\.pth cannot be written: ',
        ),
        (
            ('net.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS, '--prefix', 'neck.'),
            r"no name in it begins with prefix='neck\.'",
        ),
        (('legacy.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS), r'weights of timm \(legacy\)'),
        (
            ('odd.pth', 'out.pth', '--arch', 'ResNet', *OPTIONS),
            r'odd\.pth: 1 of 100 tensors have another size .*layer1\.0\.bn1\.bias is \(3,\) there',
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    args, expected, run_tool, monkeypatch, resnet, tmp_path
):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, resnet)
    saved(tmp_path, {'layer0.conv1.weight': torch.ones(1)} | resnet, 'legacy.pth')
    saved(tmp_path, resnet | {'layer1.0.bn1.bias': torch.ones(3)}, 'odd.pth')
    before = sorted(tmp_path.iterdir())
    code, out, err = run_tool(*args)
    assert (code, out) == (2, '')
    assert re.fullmatch(rf'error: .*{expected}.*\n', err) or re.search(expected, err.strip())
    assert err.count('\n') == 1
    assert sorted(tmp_path.iterdir()) == before


def test_the_tool_writes_replaces_and_takes_the_hash_that_it_names(
    run_tool, monkeypatch, resnet, tmp_path
):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, resnet)
    args = ('net.pth', 'new/out.pth', '--arch', 'mmblocks.ResNet', *OPTIONS, '--to', 'detectron2')
    code, out, _ = run_tool(*args)
    assert code == 0
    assert out.splitlines() == [
        'ResNet from net.pth',
        '  names      mmblocks -> detectron2',
        '  tensors    120 written',
        'written to new/out.pth',
    ]
    Path('new/out.pth').write_text('something else')
    assert run_tool(*args, '--force')[0] == 0
    assert 'res2.0.conv1.weight' in read_checkpoint('new/out.pth')

    hashed = ('net.pth', 'out-0123abcd.pth', *args[2:])
    name = re.search(r'out-\w{8}\.pth', run_tool(*hashed)[2].split('name it')[1])
    assert run_tool('net.pth', name[0], *args[2:])[0] == 0
    assert len(read_checkpoint(name[0])) == 120


def test_a_version_that_python_reads_as_a_number_can_be_given(run_tool, tmp_path):
    net = SqueezeNet('1_1')
    source, target = saved(tmp_path, net.state_dict()), tmp_path / 'out.pth'
    args = (source, target, '--arch', 'SqueezeNet', '--arch-options', 'arch=1_1')
    assert run_tool(*args)[0] == 0
    assert_same_file(source, target)


def test_the_script_runs(resnet, tmp_path):
    saved(tmp_path, resnet)
    tool = ROOT / 'tools' / 'convert_weights.py'
    result = subprocess.run(
        [sys.executable, tool, 'net.pth', 'out.safetensors', '--arch', 'ResNet', *OPTIONS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert_same_file(tmp_path / 'net.pth', tmp_path / 'out.safetensors')


def test_a_part_of_a_tensor_is_written_without_the_rest(tmp_path):
    large = torch.rand(1000, 1000)
    for name in ('a.pth', 'a.safetensors'):
        save_weights({'row': large[0], 'again': large[0], 'column': large[:, 0]}, tmp_path / name)
        assert (tmp_path / name).stat().st_size < 20_000
        assert torch.equal(read_checkpoint(str(tmp_path / name))['column'], large[:, 0])


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_a_full_disk_leaves_the_old_file_and_no_other(name, tmp_path):
    save_weights({'weight': torch.ones(2)}, tmp_path / name)
    with limits_put_back():
        limit_files(100_000, kill=False)
        with pytest.raises(UserError, match=rf'{name} cannot be written: .*it takes 4\.0 MB, '):
            save_weights({'weight': torch.rand(1000, 1000)}, tmp_path / name, force=True)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert torch.equal(read_checkpoint(str(tmp_path / name))['weight'], torch.ones(2))


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_a_kill_while_writing_leaves_the_old_file(name, tmp_path):
    save_weights({'weight': torch.ones(2)}, tmp_path / name)

    def write():
        limit_files(100_000, kill=True)
        save_weights({'weight': torch.rand(1000, 1000)}, tmp_path / name, force=True)

    assert signal_that_ended(write) == signal.SIGXFSZ
    assert torch.equal(read_checkpoint(str(tmp_path / name))['weight'], torch.ones(2))
    remove_parts(tmp_path)
    assert not list(tmp_path.glob('.*.part'))


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one_to_its_end(name, tmp_path):
    path = save_weights({'weight': torch.ones(2)}, tmp_path / name)
    before = path.read_bytes()
    with path.open('rb') as old:
        save_weights({'weight': torch.zeros(200)}, path, force=True)
        assert old.read() == before
    assert torch.equal(read_checkpoint(str(path))['weight'], torch.zeros(200))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_of_the_format_of_its_suffix_in_new_folders_and_is_not_replaced(tmp_path):
    for name, is_zip in (('net.pth', True), ('net.safetensors', False)):
        path = save_weights({'weight': torch.ones(2)}, tmp_path / 'new' / 'er' / name)
        assert zipfile.is_zipfile(path) is is_zip
        with pytest.raises(UserError, match=rf'{name} is there already; --force replaces it'):
            save_weights({'weight': torch.zeros(2)}, path)
