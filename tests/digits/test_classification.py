"""Classifying with a backbone's own classifier, in MMEngine's Runner."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mmblocks.digits import BackboneClassifier, HandwrittenDigits, Top1Accuracy
from mmblocks.engine import build_runner, load_config, prepare
from tests.parity import randomise


@pytest.mark.slow
def test_lenet_reads_the_digits_of_the_other_half(tmp_path):
    cfg = load_config('mmblocks::digits/lenet5_digits_cls.py')
    runner = build_runner(prepare(cfg, work_dir=str(tmp_path)))
    runner.train()
    assert runner.test()['accuracy/top1'] >= 97


def test_the_halves_are_those_of_scikit_learns_example():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    halves = train_test_split(digits.images, digits.target, test_size=0.5, shuffle=False)
    for split, images, labels in zip(('train', 'test'), halves[:2], halves[2:], strict=True):
        ours = HandwrittenDigits(split, size=8)
        assert [ours[i]['data_samples'] for i in range(len(ours))] == labels.tolist()
        pictures = torch.stack([ours[i]['inputs'][0] for i in range(len(ours))])
        assert_close(pictures, torch.tensor(images / 16, dtype=torch.float32))


def test_pictures_move_only_when_asked_to():
    still, moving = HandwrittenDigits('train'), HandwrittenDigits('train', max_shift=0.1)
    for turned in (HandwrittenDigits(max_angle=20), HandwrittenDigits(max_zoom=0.2), moving):
        np.random.seed(0)
        assert not torch.equal(turned[0]['inputs'], turned[0]['inputs'])
    assert torch.equal(still[0]['inputs'], still[0]['inputs'])
    assert still[0]['inputs'].shape == (1, 32, 32)


def test_a_misspelt_split_is_named():
    with pytest.raises(ValueError, match=r"split='val'.*'train', 'test'"):
        HandwrittenDigits('val')


def test_accuracy_is_a_share_in_per_cent():
    metric = Top1Accuracy()
    for predicted in (1, 2, 2, 2):
        metric.process({}, [dict(label=2, pred_label=predicted)])
    assert metric.evaluate(4) == {'accuracy/top1': 75}


def googlenet(**options):
    backbone = dict(type='mmblocks.GoogLeNet', num_classes=3, drop_rate=0, aux_drop_rate=0)
    return randomise(BackboneClassifier(backbone, **options))


def test_auxiliary_classifiers_count_with_their_weight():
    model = googlenet(aux_loss_weight=0.5).train()
    pictures, labels = torch.rand(2, 3, 64, 64), torch.tensor([0, 2])
    losses = model(pictures, labels, mode='loss')
    *auxiliary, logits = (F.cross_entropy(out, labels) for out in model.backbone(pictures))
    assert_close(losses, dict(loss=logits, aux1_loss=auxiliary[0] / 2, aux2_loss=auxiliary[1] / 2))
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_labels_can_be_smoothed():
    model = googlenet(label_smoothing=0.1).eval()
    pictures, labels = torch.rand(2, 3, 64, 64), torch.tensor([0, 2])
    scores = model(pictures).log_softmax(1)
    expected = 0.9 * F.nll_loss(scores, labels) - 0.1 * scores.mean()
    assert_close(model(pictures, labels, mode='loss')['loss'], expected)


def test_predictions_name_the_class_with_the_highest_score():
    model = googlenet().eval()
    pictures, labels = torch.rand(2, 3, 64, 64), torch.tensor([0, 2])
    predictions = model(pictures, labels, mode='predict')
    scores = torch.stack([p['pred_score'] for p in predictions])
    assert_close(scores, model(pictures).softmax(1))
    assert [p['pred_label'] for p in predictions] == scores.argmax(1).tolist()
    assert [p['label'] for p in predictions] == [0, 2]
    with pytest.raises(ValueError, match="mode='guess'"):
        model(pictures, labels, mode='guess')


def test_a_backbone_without_classifier_is_refused():
    for backbone in (
        dict(type='mmblocks.GoogLeNet'),
        dict(type='mmblocks.GhostNet', widen_factor=0.25),
    ):
        with pytest.raises(ValueError, match='num_classes'):
            BackboneClassifier(backbone)
