"""The course of a training is read as one line, whatever interruptions there were."""

import json

import pytest
from PIL import Image

from mmblocks.digits.history import draw_history, read_history


def write(work_dir, run, *records, tail=''):
    folder = work_dir / run / 'vis_data'
    folder.mkdir(parents=True)
    lines = ''.join(json.dumps(record) + '\n' for record in records)
    (folder / 'scalars.json').write_text(lines + tail)


def train(step, loss=1.0, time=0.5):
    return dict(step=step, loss=loss, loss_cls=loss / 2, time=time, epoch=1, iter=step)


def val(epoch, score):
    return {'step': epoch, 'coco/bbox_mAP': score, 'coco/bbox_mAP_50': score + 0.1, 'time': 0.1}


def test_an_uninterrupted_training(tmp_path):
    write(tmp_path, '20260101_000000', train(10, 3.0), train(20, 2.0), val(1, 0.4))
    history = read_history(tmp_path)
    assert history.losses()['loss'] == [(10, 3.0), (20, 2.0)]
    assert history.metrics() == {'mAP': [(1, 0.4)], 'mAP50': [(1, 0.5)]}
    assert history.seconds == pytest.approx(20 * 0.5)


def test_a_resumed_run_takes_the_place_of_what_was_lost(tmp_path):
    write(
        tmp_path, '20260101_000000', train(10), val(1, 0.1), train(20), train(30, 9.0), val(2, 0.9)
    )
    write(tmp_path, '20260102_000000', train(30, 0.5, time=2.0), val(2, 0.3), train(40))
    history = read_history(tmp_path)
    assert history.losses()['loss'] == [(10, 1.0), (20, 1.0), (30, 0.5), (40, 1.0)]
    assert history.metrics()['mAP'] == [(1, 0.1), (2, 0.3)]
    assert history.seconds == pytest.approx(30 * 0.5 + 10 * 2.0)


def test_a_run_from_the_beginning_takes_the_place_of_all_before(tmp_path):
    write(tmp_path, '20260101_000000', train(10), train(20), val(1, 0.1), val(2, 0.2))
    write(tmp_path, '20260102_000000', train(10, 5.0), val(1, 0.6))
    history = read_history(tmp_path)
    assert history.losses()['loss'] == [(10, 5.0)]
    assert history.metrics()['mAP'] == [(1, 0.6)]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    write(tmp_path, '20260101_000000', train(10), tail='{"step": 20, "lo')
    assert [record['step'] for record in read_history(tmp_path).train] == [10]


@pytest.mark.parametrize('records', [(), (train(10), train(20), val(1, 0.4))])
def test_the_plot_is_a_picture_even_of_nothing(tmp_path, records):
    write(tmp_path, '20260101_000000', *records)
    out = draw_history(read_history(tmp_path), tmp_path / 'training.png')
    assert len(Image.open(out).convert('RGB').getcolors(1_000_000)) > 2
