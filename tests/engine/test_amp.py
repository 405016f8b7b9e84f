"""Mixed precision: bfloat16 on the CPU, with box coordinates in float32."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from mmblocks.engine import BF16OptimWrapper, UserError
from mmblocks.engine.amp import check_optim_wrapper, turn_on_amp
from tests.engine.tiny_run import CONFIG

RPN = dict(
    type='RPNHead',
    in_channels=16,
    feat_channels=16,
    anchor_generator=dict(type='AnchorGenerator', scales=[3], ratios=[1.0], strides=[8, 16, 32]),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
    loss_bbox=dict(type='L1Loss'),
)
ROI = dict(
    type='StandardRoIHead',
    bbox_roi_extractor=dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[8, 16, 32],
    ),
    bbox_head=dict(
        type='Shared2FCBBoxHead',
        in_channels=16,
        fc_out_channels=16,
        roi_feat_size=7,
        num_classes=2,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='CrossEntropyLoss'),
        loss_bbox=dict(type='L1Loss'),
    ),
)
NMS = dict(type='nms', iou_threshold=0.7)
PROPOSAL = dict(nms_pre=100, max_per_img=20, nms=NMS, min_bbox_size=0)
ASSIGN = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.3, min_pos_iou=0.3)
SAMPLE = dict(type='RandomSampler', num=32, pos_fraction=0.5)
STAGE = dict(assigner=ASSIGN, sampler=SAMPLE, allowed_border=-1, pos_weight=-1, debug=False)


def detector(kind):
    model = Config.fromstring(CONFIG, '.py').model
    # The statistics of such small maps would blow up the rounding that is measured here.
    model.backbone.norm_eval = True
    if kind == 'RetinaNet with DCN':
        model.backbone.depth = 50
        model.backbone.dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
        model.backbone.stage_with_dcn = (False, True, True, False)
        model.neck.in_channels = [64, 128, 256]
    if kind == 'Faster R-CNN':
        del model['bbox_head']
        model.update(
            type='FasterRCNN',
            rpn_head=RPN,
            roi_head=ROI,
            train_cfg=dict(rpn=STAGE, rpn_proposal=PROPOSAL, rcnn=STAGE),
            test_cfg=dict(rpn=PROPOSAL, rcnn=dict(score_thr=0.0, nms=NMS, max_per_img=10)),
        )
    return model


@pytest.fixture
def build(mmdet_models):
    scopes = dict(DefaultScope._instance_dict)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield lambda kind: mmdet_models.build(detector(kind))
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(scopes)


def batch(training):
    from mmdet.testing import demo_mm_inputs

    return demo_mm_inputs(2, [[3, 96, 96], [3, 96, 64]], num_items=[2, 1], num_classes=2)


def wrap(model, **options):
    wrapper = BF16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1e-3), **options)
    wrapper.initialize_count_status(model, 0, 4)
    return wrapper


KINDS = ['RetinaNet', 'RetinaNet with DCN', 'Faster R-CNN']


@pytest.mark.parametrize('kind', KINDS)
def test_detectors_train_and_predict(kind, build):
    model = build(kind).train()
    same, data = copy.deepcopy(model), batch(training=True)
    torch.manual_seed(1)
    loss, _ = same.parse_losses(
        same(**same.data_preprocessor(copy.deepcopy(data), True), mode='loss')
    )
    dtypes = []
    model.neck.register_forward_hook(lambda module, args, maps: dtypes.append(maps[0].dtype))
    torch.manual_seed(1)
    wrapper = wrap(model)
    logs = model.train_step(copy.deepcopy(data), wrapper)
    assert dtypes == [torch.bfloat16]
    assert logs['loss'].item() == pytest.approx(loss.item(), rel=0.05)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    model.eval()
    with torch.no_grad(), wrapper.optim_context(model):
        predictions = [sample.pred_instances for sample in model.test_step(data)]
    assert {p.bboxes.dtype for p in predictions} == {torch.float32}
    assert sum(len(p) for p in predictions) > 0


@pytest.mark.parametrize('kind', KINDS)
def test_every_parameter_that_gets_a_gradient_in_float32_gets_one(kind, build):
    model = build(kind).train()
    same, data = copy.deepcopy(model), batch(training=True)
    wrapper = wrap(model)
    for net, context in ((model, wrapper.optim_context(model)), (same, torch.enable_grad())):
        torch.manual_seed(1)
        with context:
            losses = net(**net.data_preprocessor(copy.deepcopy(data), True), mode='loss')
        net.parse_losses(losses)[0].backward()
    for (name, ours), theirs in zip(model.named_parameters(), same.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            assert ours.grad.dtype == torch.float32
            assert torch.isfinite(ours.grad).all()


def test_boxes_far_from_the_origin_keep_their_place(build):
    """In bfloat16 a coordinate near 1000 would be a multiple of 4."""
    model = build('Faster R-CNN').eval()
    wrapper = wrap(model)
    far = torch.tensor([[0.0, 1001.0, 1002.5, 1021.0, 1033.25]])
    seen = []
    layer = model.roi_head.bbox_roi_extractor.roi_layers[0]
    layer.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    with wrapper.optim_context(model), torch.no_grad():
        maps = tuple(torch.ones(1, 16, 8, 8, dtype=torch.bfloat16) for _ in range(3))
        model.roi_head.bbox_roi_extractor(maps, far)
        scores, boxes = model.rpn_head(maps)
    assert torch.equal(seen[0], far)
    assert {t.dtype for t in (*scores, *boxes)} == {torch.float32}


@pytest.mark.usefixtures('on_compiled')
def test_ops_are_as_ever_without_autocast():
    from mmcv.ops import nms, roi_align

    BF16OptimWrapper(optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1))
    with pytest.raises((RuntimeError, NotImplementedError)):
        nms(torch.rand(4, 4).bfloat16(), torch.rand(4).bfloat16(), 0.5)
    maps = torch.rand(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 1.0, 1.0, 6.0, 6.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, (2, 2)), maps)


@pytest.mark.parametrize('count', [1, 2, 3])
def test_gradients_accumulate_and_are_clipped(count):
    model = torch.nn.Linear(4, 1)
    wrapper = wrap(model, accumulative_counts=count, clip_grad=dict(max_norm=0.01))
    inputs, moves = torch.randn(8, 4), []
    for _ in range(4):
        before = model.weight.detach().clone()
        with wrapper.optim_context(model):
            loss = model(inputs).float().pow(2).mean()
        wrapper.update_params(loss)
        moves.append((model.weight - before).norm().item())
    # The last of the four iterations updates too, whether or not it completes a group.
    assert [move > 0 for move in moves] == [(i + 1) % count == 0 or i == 3 for i in range(4)]
    assert max(moves) <= 1e-3 * 0.01 * 1.001


def config(**wrapper):
    return Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), **wrapper)))


@pytest.mark.parametrize(
    'wrapper',
    [
        dict(),
        dict(type='OptimWrapper'),
        dict(type='AmpOptimWrapper', loss_scale=128.0, dtype='float16', use_fsdp=False),
        dict(type='mmengine.OptimWrapper'),
        dict(type=BF16OptimWrapper),
    ],
)
def test_turning_it_on_keeps_the_rest(wrapper, monkeypatch):
    monkeypatch.setattr('mmblocks.engine.amp.get_device', lambda: 'cpu')
    cfg = config(accumulative_counts=2, clip_grad=dict(max_norm=1), **wrapper)
    turn_on_amp(cfg)
    assert cfg.optim_wrapper == dict(
        type='BF16OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1),
        accumulative_counts=2,
        clip_grad=dict(max_norm=1),
    )
    assert isinstance(
        build_optim_wrapper(torch.nn.Linear(1, 1), cfg.optim_wrapper), BF16OptimWrapper
    )


def test_on_a_gpu_it_is_mmengines(monkeypatch):
    monkeypatch.setattr('mmblocks.engine.amp.get_device', lambda: 'cuda')
    cfg = config()
    turn_on_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    static = config(type='AmpOptimWrapper', loss_scale=128.0)
    turn_on_amp(static)
    assert static.optim_wrapper.loss_scale == 128.0


def test_other_optim_wrappers_are_refused_by_name(monkeypatch):
    with pytest.raises(UserError, match=r'optim_wrapper\.type=ApexOptimWrapper; it can with Optim'):
        turn_on_amp(config(type='ApexOptimWrapper'))
    with pytest.raises(UserError, match='needs an optim_wrapper'):
        turn_on_amp(Config(dict()))


@pytest.mark.parametrize(
    ('device', 'name', 'expected'),
    [('cpu', 'AmpOptimWrapper', 'needs a GPU'), ('cuda', 'BF16OptimWrapper', 'is for the CPU')],
)
def test_the_wrapper_of_another_device_is_refused(device, name, expected, monkeypatch):
    monkeypatch.setattr('mmblocks.engine.amp.get_device', lambda: device)
    with pytest.raises(UserError, match=expected):
        check_optim_wrapper(config(type=name))
    check_optim_wrapper(config())
    check_optim_wrapper(Config(dict()))
