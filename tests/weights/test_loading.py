"""Weights from anywhere find their place in a backbone or neck, or it is said why not."""

import logging
import random
import time

import pytest
import torch
from mmengine.config import ConfigDict
from safetensors.torch import save_file
from torch.testing import assert_close

from mmblocks import FPN, CSPDarknet, LeNet5, ResNet, ResNetV1c, SEResNet
from mmblocks.engine import load_config
from mmblocks.utils.errors import UserError
from mmblocks.weights.loading import fit_weights
from tests.detecting import build_detector
from tests.parity import randomise

TINY = dict(depth=18, base_channels=8)


@pytest.fixture
def weights():
    return randomise(ResNet(**TINY)).state_dict()


def saved(folder, checkpoint, name='net.pth'):
    torch.save(checkpoint, folder / name)
    return str(folder / name)


def started(checkpoint, net=ResNet, options=TINY, **pretrained):
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint, **pretrained)
    module = net(**options, init_cfg=init_cfg)
    module.init_weights()
    return module


def under(prefix, state_dict):
    return {prefix + key: value for key, value in state_dict.items()}


def assert_filled(module, state_dict):
    assert_close(dict(module.state_dict()), dict(state_dict), rtol=0, atol=0)
    assert module.load_reports[0].share == 1


def level_of_the_report(log):
    (record,) = [record for record in log.records if 'tensors loaded' in record.getMessage()]
    return record.levelno


HEAD = {'bbox_head.fc.weight': torch.ones(2, 2), 'neck.lateral_convs.0.conv.bias': torch.ones(2)}


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: dict(state_dict=w),
        lambda w: dict(model=w, optimizer=dict(lr=0.1)),
        lambda w: dict(state_dict=under('module.', w)),
        lambda w: dict(state_dict={**under('backbone.', w), **HEAD}, meta=dict(epoch=1)),
        lambda w: under('module.backbone.', w) | HEAD,
        lambda w: dict(model=under('model.', w)),
        lambda w: dict(model=under('backbone.bottom_up.', w)),
        lambda w: under('detector.student.backbone.body.', w),
        # A copy beside them is not meant.
        lambda w: w | under('ema.', {k: 0 * v for k, v in w.items()}),
        lambda w: w | dict(epoch=3),
        lambda w: {k: v for k, v in w.items() if 'num_batches' not in k},
        lambda w: dict(state_dict_ema=w, state_dict={k: 0 * v for k, v in w.items()}),
        lambda w: dict(ema=w, model={k: 0 * v for k, v in w.items()}),
        lambda w: dict(ema=dict(module=w, updates=9), model={k: 0 * v for k, v in w.items()}),
        lambda w: dict(ema=dict(decay=torch.tensor(0.9)), state_dict=w),
        lambda w: dict(state_dict=w, ema_state_dict={k: 0 * v for k, v in w.items()}),
    ],
)
def test_containers_and_prefixes_are_recognised(wrap, weights, tmp_path):
    assert_filled(started(saved(tmp_path, wrap(weights))), weights)


def test_the_order_of_the_names_does_not_matter(weights, tmp_path):
    names = list(weights)
    random.Random(0).shuffle(names)
    save_file({name: weights[name] for name in names}, tmp_path / 'net.safetensors')
    assert_filled(started(str(tmp_path / 'net.safetensors')), weights)


def test_a_prefix_can_be_given_and_is_then_the_only_one(weights, tmp_path):
    two = {k: 0 * v for k, v in weights.items()}
    path = saved(tmp_path, under('student.backbone.', two) | under('teacher.backbone.', weights))
    assert_filled(started(path, prefix='teacher.backbone.'), weights)
    with pytest.raises(UserError, match=r'student\.backbone\., teacher\.backbone\.; .*prefix='):
        started(path)
    with pytest.raises(UserError, match=r"begins with prefix='neck\.'; they begin with student\."):
        started(path, prefix='neck.')
    path = saved(tmp_path, under('ema.', weights) | two | under('backbone.', two))
    assert_filled(started(path, prefix='ema'), weights)
    assert_filled(started(path, prefix=''), two)


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.', 'module.backbone.'])
def test_a_prefix_is_taken_with_or_without_its_dot_and_ddps(prefix, weights, tmp_path):
    path = saved(tmp_path, under('module.backbone.', weights) | HEAD)
    assert_filled(started(path, prefix=prefix), weights)
    with pytest.raises(UserError, match=r"prefix='back'; they begin with backbone\., bbox_head"):
        started(path, prefix='back')


def test_a_neck_takes_its_part_of_a_detector(tmp_path):
    options = dict(in_channels=(8, 16), out_channels=4, num_outs=3)
    neck = randomise(FPN(**options)).state_dict()
    path = saved(tmp_path, dict(state_dict=under('neck.', neck) | under('backbone.', neck)))
    assert_filled(started(path, FPN, options, prefix='neck.'), neck)
    path = saved(tmp_path, dict(state_dict=under('neck.', neck)))
    assert_filled(started(path, FPN, options), neck)


def test_the_net_beside_detectron2s_pyramid_is_no_matter_of_doubt(tmp_path, log):
    theirs = {
        f'backbone.fpn_{kind}{level}.{name}': torch.rand(*shape)
        for level, channels in ((2, 8), (3, 16))
        for kind, size in (('lateral', (4, channels, 1, 1)), ('output', (4, 4, 3, 3)))
        for name, shape in (('weight', size), ('bias', (4,)))
    }
    path = saved(tmp_path, theirs | {'backbone.bottom_up.stem.conv1.weight': torch.ones(2)})
    neck = started(path, FPN, dict(in_channels=(8, 16), out_channels=4, num_outs=2), min_match=1)
    assert neck.load_reports[0].unexpected == ('bottom_up.stem.conv1.weight',)
    assert level_of_the_report(log) == logging.INFO


def test_what_fits_too_little_is_an_error_that_says_what_it_looks_like(tmp_path, peer):
    timm = peer('timm').create_model('mobilenetv2_050').state_dict()
    expected = (
        r'net\.pth: only 0 of \d+ tensors of ResNet found weights \(0%; min_match=0\.9\)\. Its '
        r"names look like timm's \(conv_stem\.weight, .*are they of another net"
    )
    with pytest.raises(UserError, match=expected):
        started(saved(tmp_path, timm))
    with pytest.raises(UserError, match='of no known library: name the part to load with prefix='):
        started(saved(tmp_path, dict(a=torch.ones(1))))


@pytest.mark.parametrize(
    ('library', 'name'),
    [
        ('ultralytics', 'model.0.conv.weight'),
        ('ultralytics', 'model.model.2.cv1.conv.weight'),
        ('ultralytics', 'model.22.dfl.conv.weight'),
        ('mmyolo', 'backbone.stage4.2.conv1.conv.weight'),
        ('mmyolo', 'stage1.0.rbr_dense.conv.weight'),
        ('mmyolo', 'backbone.stage1.1.block.0.rbr_1x1.conv.weight'),
        ('mmyolo', 'backbone.stage1.1.blocks.0.0.conv.weight'),
        ('mmyolo', 'backbone.stem.rbr_dense.conv.weight'),
        ('mmyolo', 'neck.top_down_layers.0.main_conv.conv.weight'),
        ('mmyolo', 'bbox_head.head_module.cls_preds.0.2.weight'),
    ],
)
def test_names_of_libraries_with_other_nets_are_named(library, name, tmp_path):
    path = saved(tmp_path, {name: torch.ones(1)})
    expected = rf"Its names are {library}'s \({name}\), those of a net that mmblocks does not have$"
    for net, options in ((ResNet, TINY), (CSPDarknet, dict(widen_factor=0.125))):
        with pytest.raises(UserError, match=expected):
            started(path, net, options)


def test_names_of_mmyolo_are_told_from_mmdets_that_they_begin_as(tmp_path):
    options = dict(deepen_factor=0.33, widen_factor=0.125)
    names = CSPDarknet(**options).state_dict()
    # Its stem is a plain convolution, and its pooling stands at the very end.
    theirs = {
        name.replace('stem.conv.', 'stem.').replace('stage4.1.', 'stage4.2.'): value
        for name, value in names.items()
    }
    with pytest.raises(UserError, match=r"Its names are mmyolo's \(stem\.conv\.weight, "):
        started(saved(tmp_path, under('backbone.', theirs)), CSPDarknet, options)


def test_the_same_net_of_another_size_is_an_error(weights, tmp_path):
    path = saved(tmp_path, weights)
    expected = r'are those of ResNet .*another size or variant of it \(conv1\.weight is \(8, 3'
    with pytest.raises(UserError, match=expected):
        started(path, options=dict(depth=18, base_channels=16))


def test_a_stage_without_any_weights_is_an_error_unless_min_match_is_lowered(tmp_path):
    path = saved(tmp_path, randomise(ResNetV1c(50, base_channels=8)).state_dict())
    options = dict(depth=50, base_channels=8)
    with pytest.raises(UserError, match=r'260 of 265 .*, none of stem \(98%; min_match=0\.9'):
        started(path, options=options)
    assert len(started(path, options=options, min_match=0.8).load_reports[0].missing) == 5


@pytest.mark.parametrize(
    ('net', 'options'),
    [
        (ResNet, dict(depth=34, base_channels=8)),  # deeper stages
        (SEResNet, TINY),  # parts of blocks
    ],
)
def test_weights_of_another_variant_are_a_warning(net, options, tmp_path, log):
    started(saved(tmp_path, randomise(net(**options)).state_dict()))
    assert level_of_the_report(log) == logging.WARNING


def test_what_is_missing_is_a_warning(weights, tmp_path, log):
    del weights['layer4.1.conv2.weight']
    started(saved(tmp_path, weights))
    assert level_of_the_report(log) == logging.WARNING


def test_layers_that_the_config_puts_in_place_of_others_are_no_matter_of_doubt(
    weights, tmp_path, log
):
    ak_conv = dict(type='mmblocks.AKConv', num_points=5)
    options = dict(TINY, replace_convs=[dict(cfg=ak_conv, stages=[False, True, False, False])])
    net = started(saved(tmp_path, weights), options=options, min_match=1)
    assert 'layer2.0.conv1.weight' in net.load_reports[0].unexpected
    assert all(name.startswith('layer2.') for name in net.load_reports[0].added)
    assert level_of_the_report(log) == logging.INFO


def test_offsets_of_deformable_convolutions_are_initialised_and_not_missed(weights, tmp_path, log):
    dcn = dict(type='mmblocks.ModulatedDeformConv2dPack', deform_groups=1)
    options = dict(TINY, dcn=dcn, stage_with_dcn=(False, True, True, True))
    net = started(saved(tmp_path, weights), options=options, min_match=1)
    added = net.load_reports[0].added
    assert added
    assert all('.conv_offset.' in name for name in added)
    assert level_of_the_report(log) == logging.INFO


def test_weights_of_more_stages_or_with_a_head_are_none(weights, tmp_path, log):
    path = saved(tmp_path, weights | {'fc.weight': torch.ones(10, 64)})
    started(path, options=dict(TINY, out_indices=(0, 1, 2)))
    assert level_of_the_report(log) == logging.INFO


def test_a_classifier_of_other_classes_is_no_matter_of_min_match(tmp_path, log):
    weights = randomise(LeNet5(num_classes=26)).state_dict()
    net = started(saved(tmp_path, weights), LeNet5, dict(num_classes=10), min_match=1)
    assert torch.equal(net.features[0].weight, weights['features.0.weight'])
    (record,) = [record for record in log.records if 'tensors loaded' in record.getMessage()]
    assert record.levelno == logging.WARNING
    assert '(26, 84) for (10, 84)' in record.getMessage()


def test_tensors_that_cannot_be_copied_are_an_error(weights, tmp_path):
    sparse = {k: v.to_sparse() if v.dim() == 4 else v for k, v in weights.items()}
    with pytest.raises(UserError, match=r'net\.pth: conv1\.weight is a sparse or nested tensor'):
        started(saved(tmp_path, sparse))


def test_weights_of_a_refused_library_are_an_error_that_names_the_file(tmp_path, peer):
    theirs = peer('timm').create_model('legacy_seresnet18')
    expected = r'net\.pth: these are weights of timm \(legacy\): .* differ; SENet takes them'
    for prefix in ('', 'model.backbone.'):
        path = saved(tmp_path, under(prefix, theirs.state_dict()))
        with pytest.raises(UserError, match=expected):
            started(path, SEResNet, dict(depth=18))


@pytest.mark.parametrize('name', ['group{0}.blocks{1}.attn.weight', 'res2.{0}.conv{1}.weight'])
def test_the_time_for_foreign_names_grows_with_their_number(name, weights):
    """Four times as many took sixteen times as long."""

    def seconds(number):
        others = {name.format(i // 30, i % 30): torch.ones(1) for i in range(number)}
        start = time.process_time()
        with pytest.raises(UserError):
            fit_weights(ResNet(**TINY), others, 'many')
        return time.process_time() - start

    few = min(seconds(4_000) for _ in range(2))
    assert min(seconds(16_000) for _ in range(2)) < 9 * few


def test_min_match_says_how_much_is_enough(weights, tmp_path):
    half = {k: v for k, v in weights.items() if not k.startswith(('layer3', 'layer4'))}
    path = saved(tmp_path, half)
    with pytest.raises(UserError, match=r'only 50 of 100 tensors .*\(50%; min_match=0\.9\)'):
        started(path)
    with pytest.raises(UserError, match=r'only 50 of 100 tensors .* are those of ResNet'):
        started(saved(tmp_path, under('backbone.', half), 'detector.pth'))
    module = started(path, min_match=0.5)
    assert len(module.load_reports[0].missing) == 50
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match='min_match='):
            started(path, min_match=wrong)


def test_min_match_can_ask_for_all(weights, tmp_path):
    del weights['layer4.1.conv2.weight']
    path = saved(tmp_path, weights)
    assert started(path).load_reports[0].share == 0.99
    started(path, min_match=0.99)
    with pytest.raises(UserError, match=r'only 99 of 100 tensors .*\(99%; min_match=1\)'):
        started(path, min_match=1)


def test_with_a_low_min_match_few_tensors_are_found_under_their_prefix(weights, tmp_path):
    few = {k: v for k, v in weights.items() if k.startswith(('conv1', 'bn1', 'layer1'))}
    path = saved(tmp_path, under('student.', few) | HEAD)
    with pytest.raises(UserError, match=r'only 0 of 100 tensors'):
        started(path)
    report = started(path, min_match=0.2).load_reports[0]
    assert (report.prefix, len(report.matched), report.others) == ('student.', 25, len(HEAD))
    with pytest.raises(UserError, match=r'only 25 of 100 tensors .*\(25%; min_match=0\.3\)'):
        started(path, min_match=0.3, prefix='student')
    assert started(path, min_match=0, prefix='neck').load_reports[0].matched == ()


@pytest.mark.parametrize('in_channels', [1, 2, 4, 6])
def test_the_stem_is_fitted_to_other_images_only_when_asked_to(in_channels, weights, tmp_path):
    path = saved(tmp_path, weights)
    options = dict(TINY, in_channels=in_channels)
    with pytest.raises(UserError, match=r'for images of other channels \(conv1.* adapt_input=True'):
        started(path, options=options)

    fitted = started(path, options=options, adapt_input=True)
    assert fitted.load_reports[0].share == 1
    assert fitted.conv1.in_channels == in_channels
    if in_channels in (1, 6):  # a grey image gives what it gives as RGB
        grey = torch.rand(2, 1, 64, 64)
        rgb = started(path).eval()
        with torch.no_grad():
            outs = fitted.eval()(grey.expand(-1, in_channels, -1, -1))
            assert_close(outs, rgb(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    back = started(saved(tmp_path, fitted.state_dict(), 'other.pth'), adapt_input=True)
    assert back.load_reports[0].share == 1
    if in_channels == 4:
        red, green, blue = weights['conv1.weight'].unbind(1)
        expected = torch.stack([red, green, blue, red], 1) * 0.75
        assert_close(fitted.conv1.weight.data, expected)


def test_a_focus_layer_is_fitted_pixel_by_pixel(tmp_path):
    options = dict(deepen_factor=0.33, widen_factor=0.125)
    rgb = randomise(CSPDarknet(**options))
    path = saved(tmp_path, rgb.state_dict())
    grey = started(path, CSPDarknet, dict(options, in_channels=1), adapt_input=True).eval()
    x = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert_close(grey(x), rgb.eval()(x.expand(-1, 3, -1, -1)))


def test_weights_for_grey_images_are_not_taken_for_others_by_themselves(tmp_path):
    path = saved(tmp_path, ResNet(**TINY, in_channels=1).state_dict())
    with pytest.raises(UserError, match=r'for images of other channels \(conv1.*\(8, 1, 7, 7\)'):
        started(path)


def test_only_kernels_of_few_channels_see_images(tmp_path):
    path = saved(tmp_path, ResNet(**TINY, in_channels=6).state_dict())
    report = started(path, options=dict(TINY, in_channels=5)).load_reports[0]
    assert report.mismatched == (('conv1.weight', (8, 6, 7, 7), (8, 5, 7, 7)),)
    with pytest.raises(UserError, match='adapt_input=True has no effect'):
        started(path, options=dict(TINY, in_channels=5), adapt_input=True)


def test_asking_to_fit_what_fits_is_an_error(weights, tmp_path):
    with pytest.raises(UserError, match='adapt_input=True has no effect'):
        started(saved(tmp_path, weights), adapt_input=True)


def test_parts_that_the_config_adds_are_initialised_and_not_missed(weights, tmp_path, caplog):
    plugin = dict(cfg=dict(type='ContextBlock', ratio=0.5), position='after_conv2')
    module = started(saved(tmp_path, weights), options=dict(TINY, plugins=[plugin]))
    report = module.load_reports[0]
    assert report.share == 1
    assert report.added
    assert all('context_block' in name for name in report.added)
    assert 'new, initialised: layer1.0.context_block' in str(report)


def test_a_report_names_what_was_loaded_and_what_not(weights, tmp_path):
    del weights['layer4.1.conv2.weight']
    weights['layer9.weight'] = torch.ones(1)
    weights['layer1.0.conv1.weight'] = torch.ones(1)
    path = saved(tmp_path, under('backbone.', weights) | HEAD)
    module = started(path)
    assert str(module.load_reports[0]).splitlines() == [
        f'ResNet from {path} (its own names under backbone.): 98 of 100 tensors loaded, '
        '2 of other parts left out',
        '  1 missing: layer4.1.conv2.weight',
        '  1 of another size: layer1.0.conv1.weight (1,) for (8, 8, 3, 3)',
        '  1 without a place here: layer9.weight',
    ]


def test_a_pretrained_entry_is_checked(tmp_path):
    with pytest.raises(ValueError, match=r'has prefx; Pretrained accepts checkpoint, prefix, '):
        ResNet(**TINY, init_cfg=dict(type='Pretrained', checkpoint='x', prefx='a'))
    with pytest.raises(ValueError, match='lacks checkpoint'):
        ResNet(**TINY, init_cfg=[dict(type='Pretrained')])
    with pytest.raises(UserError, match=r'checkpoint not found: .*gone\.pth'):
        started(str(tmp_path / 'gone.pth'))


@pytest.mark.parametrize('kind', ['PretrainedInit', 'mmengine.Pretrained'])
def test_the_other_names_of_the_entry_are_the_same(kind, weights, tmp_path):
    net = ResNet(**TINY, init_cfg=dict(type=kind, checkpoint=saved(tmp_path, weights)))
    net.init_weights()
    assert_filled(net, weights)


def test_other_initialisation_fills_what_the_weights_lack(weights, tmp_path):
    del weights['layer4.1.conv2.weight']
    path = saved(tmp_path, weights)
    constant = dict(type='Constant', val=0.25, layer='Conv2d')
    net = ResNet(**TINY, init_cfg=[constant, dict(type='Pretrained', checkpoint=path)])
    net.init_weights()
    assert_close(net.layer4[1].conv2.weight, torch.full_like(net.layer4[1].conv2.weight, 0.25))
    assert_close(net.conv1.weight.data, weights['conv1.weight'])


def test_a_detector_starts_from_foreign_weights(tmp_path, peer, mmdet_models):
    theirs = randomise(peer('torchvision.models').mobilenet_v2(width_mult=0.5)).eval()
    path = saved(tmp_path, theirs.state_dict())
    init_cfg = dict(type='Pretrained', checkpoint=path)
    cfg = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    cfg.model.backbone = ConfigDict(
        type='mmblocks.MobileNetV2', widen_factor=0.5, init_cfg=init_cfg
    )
    cfg.model.neck.in_channels = [16, 16, 48, 1280]
    detector = build_detector(cfg, mmdet_models)
    detector.init_weights()
    assert detector.backbone.load_reports[0].mapping == 'torchvision'
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert_close(detector.backbone.eval()(x)[-1], theirs.features(x), rtol=1e-5, atol=1e-5)
