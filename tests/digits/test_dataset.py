"""The generated digits set keeps what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmblocks.cli.make_digits import main
from mmblocks.digits import DigitsSettings, make_digits
from mmblocks.digits.handwriting import load_handwriting, split_samples
from mmblocks.digits.scenes import (
    MAX_OVERLAP,
    MIN_CONTRAST,
    contrast,
    draw_scene,
    ink_mask,
    luminance,
    overlap,
)

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, 'PYTHONPATH': str(ROOT)}  # for processes of their own
SMALL = DigitsSettings(train_scenes=12, val_scenes=6)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return make_digits(tmp_path_factory.mktemp('data') / 'digits', SMALL)


@pytest.fixture(scope='module')
def handwriting():
    return load_handwriting()


def read(root, split):
    return json.loads((root / 'annotations' / f'{split}.json').read_text())


def files(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob('*') if p.is_file()}


class TestWhatIsMade:
    def test_the_promised_number_of_scenes_of_the_promised_size(self, root):
        for split, count in (('train', 12), ('val', 6)):
            listed = read(root, split)['images']
            assert len(listed) == count
            for image in listed:
                assert Image.open(root / split / image['file_name']).size == (160, 160)
                assert (image['width'], image['height']) == (160, 160)

    def test_one_to_five_digits_of_24_to_56_pixels_inside_the_picture(self, root):
        for split in ('train', 'val'):
            content = read(root, split)
            for image in content['images']:
                boxes = [a['bbox'] for a in content['annotations'] if a['image_id'] == image['id']]
                assert 1 <= len(boxes) <= 5
                for x, y, w, h in boxes:
                    assert 24 <= max(w, h) <= 56
                    assert min(x, y) >= 0
                    assert max(x + w, y + h) <= 160

    def test_ids_start_at_one_and_areas_are_those_of_the_boxes(self, root):
        content = read(root, 'train')
        for kind in ('images', 'annotations', 'categories'):
            assert [entry['id'] for entry in content[kind]] == [*range(1, len(content[kind]) + 1)]
        assert all(a['area'] == a['bbox'][2] * a['bbox'][3] for a in content['annotations'])

    def test_no_handwritten_sample_is_in_both_splits(self, root):
        train, val = ({a['sample'] for a in read(root, s)['annotations']} for s in ('train', 'val'))
        assert train
        assert val
        assert not train & val

    def test_each_annotation_names_the_digit_that_its_sample_shows(self, root, handwriting):
        for annotation in read(root, 'train')['annotations']:
            assert annotation['category_id'] == handwriting.digits[annotation['sample']] + 1

    def test_mmdet_reads_it(self, root):
        from mmdet.datasets import CocoDataset

        dataset = CocoDataset(
            data_root=str(root),
            ann_file='annotations/val.json',
            data_prefix=dict(img='val/'),
            metainfo=dict(classes=SMALL.class_names),
            pipeline=[],
        )
        assert len(dataset) == 6
        annotations = read(root, 'val')['annotations']
        instances = [i for n in range(6) for i in dataset.get_data_info(n)['instances']]
        assert [i['bbox_label'] for i in instances] == [a['category_id'] - 1 for a in annotations]
        x, y, w, h = annotations[0]['bbox']
        assert instances[0]['bbox'] == [x, y, x + w, y + h]


class TestSameSettingsSameBytes:
    def test_the_same_seed_gives_the_same_bytes(self, root, tmp_path):
        assert files(make_digits(tmp_path / 'again', SMALL)) == files(root)

    def test_another_seed_gives_other_scenes(self, root, tmp_path):
        other = make_digits(tmp_path / 'other', DigitsSettings(12, 6, seed=1))
        first = Path('train', '000001.png')
        assert files(other)[first] != files(root)[first]

    def test_a_smaller_set_holds_the_first_scenes_of_a_greater(self, root, tmp_path):
        smaller = files(make_digits(tmp_path / 'smaller', DigitsSettings(3, 2)))
        pictures = {path: data for path, data in smaller.items() if path.suffix == '.png'}
        assert len(pictures) == 5
        assert pictures.items() <= files(root).items()


class TestSubsets:
    def test_only_the_wanted_digits_appear_each_with_its_own_name(self, tmp_path):
        settings = DigitsSettings(8, 4, digits=(7, 5))
        content = read(make_digits(tmp_path / 'digits', settings), 'train')
        assert [c['name'] for c in content['categories']] == ['7', '5']
        assert {a['category_id'] for a in content['annotations']} == {8, 6}

    def test_samples_of_a_digit_do_not_depend_on_the_other_digits(self, handwriting):
        alone = split_samples(handwriting.digits, (3,), 'val', seed=0)[3]
        together = split_samples(handwriting.digits, range(10), 'val', seed=0)[3]
        np.testing.assert_array_equal(alone, together)

    def test_splits_are_disjoint_whole_and_stratified(self, handwriting):
        labels = handwriting.digits
        train, val = (split_samples(labels, range(10), split, seed=0) for split in ('train', 'val'))
        for digit in range(10):
            both = np.concatenate([train[digit], val[digit]])
            np.testing.assert_array_equal(np.sort(both), np.flatnonzero(labels == digit))
            assert len(val[digit]) / len(both) == pytest.approx(0.25, abs=0.005)


@pytest.fixture(scope='module')
def scenes(handwriting):
    samples = split_samples(handwriting.digits, range(10), 'train', seed=0)
    return [
        draw_scene(np.random.default_rng(n), handwriting.images, samples, 160, (24, 56), (1, 5))
        for n in range(60)
    ]


class TestDrawing:
    @pytest.mark.parametrize('size', [24, 37, 56])
    def test_ink_touches_all_borders_of_its_box_which_is_as_long_as_wanted(self, handwriting, size):
        for number in range(0, 1797, 29):
            mask = ink_mask(np.random.default_rng(number), handwriting.images[number], size)
            assert max(mask.shape) == size
            assert min(mask[0].max(), mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) > 0

    def test_boxes_are_where_the_picture_differs_from_its_background(self, handwriting):
        samples = split_samples(handwriting.digits, range(10), 'train', seed=0)
        for seed in range(20):
            picture, placed = draw_scene(
                np.random.default_rng(seed), handwriting.images, samples, 160, (24, 56), (1, 1)
            )
            light = luminance(picture.astype(float))
            x, y, w, h = placed[0].box
            outside = np.ones_like(light, dtype=bool)
            outside[y : y + h, x : x + w] = False
            bright = contrast(light, light[outside].mean()) > 3
            ys, xs = np.nonzero(bright & (light > light[outside].max()))
            # Faint edge pixels of the ink may be missed by the threshold, never those outside.
            found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(found - [x, y, x + w, y + h]).max() <= 2

    def test_digits_overlap_slightly_at_most(self, scenes):
        for _, placed in scenes:
            boxes = [item.box for item in placed]
            pairs = [(a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :]]
            assert all(overlap(a, b) <= MAX_OVERLAP for a, b in pairs)

    def test_digits_stand_out_from_what_is_around_them(self, scenes):
        for picture, placed in scenes:
            light = luminance(picture.astype(float))
            paper = np.ones_like(light, dtype=bool)
            for x, y, w, h in (item.box for item in placed):
                paper[y : y + h, x : x + w] = False
            for x, y, w, h in (item.box for item in placed):
                around = np.s_[max(y - 4, 0) : y + h + 4, max(x - 4, 0) : x + w + 4]
                ink = np.percentile(light[y : y + h, x : x + w], 95)
                assert contrast(ink, np.median(light[around][paper[around]])) >= 0.9 * MIN_CONTRAST

    def test_backgrounds_are_textured(self, scenes):
        assert all(picture.astype(float).std(axis=(0, 1)).max() > 1 for picture, _ in scenes)


class TestReuse:
    def test_a_whole_set_is_left_as_it_is(self, tmp_path):
        root = make_digits(tmp_path / 'digits', SMALL)
        before = {p: p.stat().st_mtime_ns for p in root.rglob('*')}
        make_digits(root, SMALL)
        assert {p: p.stat().st_mtime_ns for p in root.rglob('*')} == before

    @pytest.mark.parametrize(
        'damaged', ['train/000005.png', 'annotations/val.json', 'annotations/train.json']
    )
    def test_a_damaged_set_is_made_again(self, root, tmp_path, damaged):
        again = make_digits(tmp_path / 'digits', SMALL)
        (again / damaged).unlink()
        make_digits(again, SMALL)
        assert files(again) == files(root)

    def test_an_interrupted_run_leaves_nothing_behind(self, tmp_path, monkeypatch):
        from mmblocks.digits import dataset

        def interrupt(*args):
            if (args[0].bit_generator.seed_seq.entropy)[2] == 3:
                raise KeyboardInterrupt
            return draw_scene(*args)

        monkeypatch.setattr(dataset, 'draw_scene', interrupt)
        with pytest.raises(KeyboardInterrupt):
            make_digits(tmp_path / 'digits', SMALL)
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_run_left_is_not_taken_for_a_set(self, root, tmp_path):
        code = (
            'import os, sys\n'
            'from mmblocks.digits import dataset\n'
            'draw = dataset.draw_scene\n'
            'dataset.draw_scene = lambda rng, *args: (\n'
            '    os._exit(9) if rng.bit_generator.seed_seq.entropy[2] == 3 else draw(rng, *args))\n'
            'dataset.make_digits(sys.argv[1], dataset.DigitsSettings(12, 6))\n'
        )
        target = tmp_path / 'digits'
        assert subprocess.run([sys.executable, '-c', code, str(target)], env=ENV).returncode == 9
        assert not target.exists()
        (left,) = tmp_path.iterdir()
        os.utime(left, (0, 0))  # long ago
        assert files(make_digits(target, SMALL)) == files(root)
        assert list(tmp_path.iterdir()) == [target]

    def test_other_settings_are_refused_by_name_and_replaced_when_asked(self, tmp_path):
        root = make_digits(tmp_path / 'digits', DigitsSettings(3, 2))
        with pytest.raises(FileExistsError, match=r'train_scenes=3 \(wanted 4\)'):
            make_digits(root, DigitsSettings(4, 2))
        make_digits(root, DigitsSettings(4, 2), overwrite=True)
        assert len(read(root, 'train')['images']) == 4
        assert sorted(p.name for p in tmp_path.iterdir()) == ['digits']

    def test_a_folder_of_something_else_is_never_touched(self, tmp_path):
        (tmp_path / 'thesis.txt').write_text('mine')
        with pytest.raises(FileExistsError, match='not a digits set'):
            make_digits(tmp_path, SMALL, overwrite=True)
        assert (tmp_path / 'thesis.txt').read_text() == 'mine'


class TestErrors:
    @pytest.mark.parametrize(
        ('settings', 'named'),
        [
            (dict(train_scenes=0), 'train_scenes must be at least 1, got 0'),
            (dict(val_scenes=2.5), 'val_scenes must be made of integers'),
            (dict(seed=-1), 'seed must be at least 0'),
            (dict(digits=()), 'digits must be one or more'),
            (dict(digits=(3, 3)), r'digits must be .* got \(3, 3\)'),
            (dict(digits=(1, 10)), r'digits must be .* got \(1, 10\)'),
            (dict(digits=5), 'digits must be a sequence'),
            (dict(digit_size=(56, 24)), r'digit_size must be two integers .* got \(56, 24\)'),
            (dict(digit_size=(4, 24)), 'least >= 8'),
            (dict(digits_per_scene=(0, 5)), 'digits_per_scene must be two integers'),
            (dict(image_size=48), 'digit_size must be at most image_size - 4 = 44'),
        ],
    )
    def test_a_bad_setting_is_named(self, settings, named):
        with pytest.raises(ValueError, match=named):
            DigitsSettings(**settings)

    def test_digits_that_do_not_fit_are_an_error_and_leave_nothing(self, tmp_path):
        settings = DigitsSettings(3, 2, image_size=64, digit_size=(50, 56), digits_per_scene=(5, 5))
        with pytest.raises(ValueError, match='do not fit into a scene of 64x64'):
            make_digits(tmp_path / 'digits', settings)
        assert list(tmp_path.iterdir()) == []

    def test_without_scikit_learn_it_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
        with pytest.raises(ImportError, match=r"pip install 'mmblocks\[demo\]'"):
            make_digits(tmp_path / 'digits', SMALL)


class TestCommandLine:
    def call(self, *args):
        command = [sys.executable, str(ROOT / 'tools' / 'make_digits.py'), *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, env=ENV)

    def test_options_reach_the_settings_and_no_progress_bar_goes_to_a_pipe(self, tmp_path):
        done = self.call(
            tmp_path / 'digits',
            '--train-scenes',
            3,
            '--val-scenes',
            2,
            '--digits',
            0,
            1,
            '--seed',
            5,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ''
        assert '3 training and 2 validation scenes of the digits 0 1' in done.stdout
        expected = make_digits(tmp_path / 'expected', DigitsSettings(3, 2, (0, 1), seed=5))
        assert files(tmp_path / 'digits') == files(expected)

    def test_errors_are_one_line(self, tmp_path, run_command):
        code, _, err = run_command(main, 'make_digits.py', tmp_path / 'digits', '--digits', 12)
        assert code != 0
        assert len(err.splitlines()) == 1
        assert 'digits must be' in err
