"""What ``mmblocks new`` finds in images and annotations before anything trains."""

import copy
import json
import math

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image

from mmblocks.own_data import check_classes, check_split, read_split
from mmblocks.utils.errors import UserError
from tests.own_data.pictures import square_set, two_splits, write


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    """A folder of pictures, and their annotations."""
    folder = tmp_path_factory.mktemp('squares')
    return folder, square_set(folder)


@pytest.fixture
def found(squares, tmp_path):
    """Changes the annotations; gives the texts of what is found, and of what is fatal."""
    folder, content = squares

    def find(change, masks=False):
        changed = copy.deepcopy(content)
        change(changed)
        path = tmp_path / 'changed.json'
        path.write_text(json.dumps(changed))
        findings = check_split(read_split('train', [str(path), str(folder / 'train')]), masks)
        return [f.text for f in findings if not f.remedy], [f.text for f in findings if f.remedy]

    return find


def set_box(box):
    return lambda content: content['annotations'][0].update(bbox=box)


def test_nothing_is_found_in_good_data(found):
    assert found(lambda content: None, masks=True) == ([], [])


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (
            lambda c: c['images'][0].update(file_name='no.png'),
            '11 of 12 images found; missing: no.png',
        ),
        (lambda c: c['annotations'][0].update(image_id=99), '1 annotation (id 1 (99)) of images'),
        (lambda c: c['annotations'][0].update(category_id=9), 'of categories that are not listed'),
        (set_box([math.nan, 1, 5, 5]), 'with a box that is not finite'),
        (set_box([1, 1, math.inf, 5]), 'with a box that is not finite'),
        (set_box([1, 1, -5, 5]), 'with a negative width or height'),
        (lambda c: c['annotations'].clear(), 'no annotations'),
    ],
    ids=['missing', 'image', 'category', 'nan', 'infinite', 'negative', 'none'],
)
def test_what_training_would_fall_over_is_fatal(found, change, text):
    harmless, (fatal,) = found(change)
    assert text in fatal
    assert [t for t in harmless if 'have no objects' not in t] == []


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (set_box([1, 1, 0, 5]), '1 annotation (id 1 (0.png)) thinner than a pixel'),
        (set_box([100, 1, 5, 5]), 'outside of their image, which are left out'),
        (set_box([60, 1, 20, 5]), 'partly outside of their image'),
        (lambda c: c['images'][3].update(width=63), '1 image (3.png (64x48, said 63x48)) of'),
        (lambda c: c['annotations'].pop(), '1 of 12 images have no objects'),
        (
            lambda c: c['images'].append(dict(c['images'][0], id=50)),
            '1 image (0.png) listed twice',
        ),
    ],
    ids=['empty', 'outside', 'partly', 'size', 'no objects', 'twice'],
)
def test_what_mmdet_would_leave_out_is_told(found, change, text):
    harmless, fatal = found(change)
    assert any(text in line for line in harmless), harmless
    assert fatal == []


def test_boxes_of_which_nothing_is_left_are_fatal(found):
    def normalised(content):
        for annotation in content['annotations']:
            annotation['bbox'] = [0.1, 0.1, 0.3, 0.3]

    assert 'no box has a pixel' in found(normalised)[1]


@pytest.mark.parametrize(
    'mask', [None, [], [[1, 2, 3]], [[1, 2, 'x', 4, 5, 6]], dict(counts=3), dict(size=[-1, 2])]
)
def test_masks_have_to_be_usable_where_they_are_trained(found, mask):
    def change(content):
        content['annotations'][0]['segmentation'] = mask

    assert found(change) == ([], [])
    assert found(change, masks=True)[1] == ['1 annotation (id 1 (0.png)) without a usable mask']


def test_images_that_cannot_be_read_are_fatal(tmp_path):
    content = square_set(tmp_path, pictures=4)
    (tmp_path / 'train' / '0.png').write_bytes(b'')
    (tmp_path / 'train' / '1.png').write_text('<html>not found</html>')
    (tmp_path / 'train' / '2.png').write_bytes((tmp_path / 'train' / '3.png').read_bytes()[:20])
    (finding,) = check_split(read_split('train', write(tmp_path, content)))
    assert finding.text.startswith('3 images (0.png (no image), 1.png (no image), 2.png (')
    assert finding.remedy


def test_an_image_counts_as_its_camera_held_it(tmp_path):
    content = square_set(tmp_path, pictures=1)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new('RGB', (64, 48)).save(tmp_path / 'train' / '0.png', exif=exif)
    (finding,) = check_split(read_split('train', write(tmp_path, content)))
    assert '0.png (48x64, said 64x48)' in finding.text


def test_classes_with_few_objects_are_told(tmp_path):
    train, val = two_splits(tmp_path)
    texts = [finding.text for finding in check_classes(train, val)]
    assert texts == ['train has fewer than 10 objects of 2 classes (red (6), green (6))']


def test_classes_that_val_cannot_measure_are_told(tmp_path):
    train, val = two_splits(tmp_path, pictures=20)
    val.content['annotations'][:] = val.content['annotations'][::2]
    assert [f.text for f in check_classes(train, val)] == ['val has no object of 1 class (green)']


def test_images_in_both_splits_are_told(tmp_path):
    train, val = two_splits(tmp_path, pictures=20)
    original = (train.folder / '3.png').read_bytes()
    (val.folder / '5.png').write_bytes(original)  # under another name
    (finding,) = check_classes(train, val)
    assert finding.text.startswith('1 image (5.png) in train and in val')


@pytest.mark.parametrize(
    ('categories', 'text'),
    [
        ([dict(id=30, name='red')], 'val has no category green'),
        ([dict(id=7, name='green'), dict(id=30, name='red')], 'in another order (green, red)'),
    ],
)
def test_categories_of_val_have_to_be_those_of_train(tmp_path, categories, text):
    train, val = two_splits(tmp_path, pictures=20)
    val.content['categories'][:] = categories
    assert any(text in f.text and f.remedy for f in check_classes(train, val))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (
            lambda c: c['categories'][0].update(name='green'),
            "have the name of another one: 'green'",
        ),
        (lambda c: c['categories'][0].update(name='red\nimport os'), 'must be a text of one line'),
        (lambda c: c['categories'][0].update(name='\u2028'), 'must be a text of one line'),
        (lambda c: c['categories'][0].update(name='\ud800'), 'must be a text of one line'),
        (lambda c: c['categories'][0].update(name='{{ fileBasename }}'), 'one line without {{'),
        (lambda c: c['images'][0].update(file_name='a\n.png'), 'a path inside the folder of'),
        (lambda c: c['categories'][0].update(id=7), 'have the id of another one: 7'),
        (lambda c: c['images'][0].update(id=2), '1 of the images have the id of another one: 2'),
        (lambda c: c['images'][0].update(file_name='../a.png'), 'a path inside the folder of'),
        (lambda c: c['images'][0].update(file_name='/etc/passwd'), 'a path inside the folder of'),
        (lambda c: c['images'][0].update(file_name='C:\\a.png'), 'a path inside the folder of'),
        (lambda c: c['images'][0].update(file_name='a\0.png'), 'a path inside the folder of'),
        (lambda c: c['images'][0].update(id=[1]), 'images[0].id must be an int, not [1]'),
        (lambda c: c['images'][0].pop('id'), 'images[0] has no "id"'),
        (lambda c: c['images'].append(7), 'images[12] must be an object, not 7'),
        (lambda c: c.update(annotations={}), '"annotations" must be a list, not {}'),
        (lambda c: c['annotations'][1].update(bbox=[1, 2]), 'annotations[1].bbox must be four'),
        (lambda c: c['annotations'][1].update(bbox=[1, 2, 3, 'x']), 'must be four numbers'),
        (lambda c: c['annotations'][1].update(bbox=[1, 2, 3, 10**400]), 'must be four numbers'),
        (lambda c: c['annotations'][1].update(bbox=[1, 2, 3, True]), 'must be four numbers'),
        (lambda c: c['annotations'][1].update(category_id='7'), 'must be an int'),
        (lambda c: c['images'].clear(), 'lists no images'),
        (lambda c: c['categories'].clear(), 'lists no categories'),
    ],
)
def test_a_file_that_is_not_coco_is_refused_in_one_line(squares, tmp_path, change, said):
    folder, content = squares
    changed = copy.deepcopy(content)
    change(changed)
    path = tmp_path / 'wrong.json'
    path.write_text(json.dumps(changed))
    with pytest.raises(UserError) as error:
        read_split('train', [str(path), str(folder / 'train')])
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


@pytest.mark.parametrize('text', ['[' * 100_000, '{"images": [', '[]', 'null', '', '{"images": 3}'])
def test_a_file_that_is_no_dict_of_lists_is_refused(squares, tmp_path, text):
    path = tmp_path / 'wrong.json'
    path.write_text(text)
    with pytest.raises(UserError, match=r'wrong\.json'):
        read_split('train', [str(path), str(squares[0] / 'train')])


def test_what_some_programs_leave_out_is_put_in(squares, tmp_path):
    folder, content = squares
    lacking = copy.deepcopy(content)
    for annotation in lacking['annotations']:
        for key in ('id', 'area', 'iscrowd'):
            del annotation[key]
    for image in lacking['images']:
        del image['width'], image['height']
    path = tmp_path / 'lacking.json'
    path.write_text(json.dumps(lacking))
    split = read_split('train', [str(path), str(folder / 'train')])
    assert split.content == content
    assert split.changes == '12 sizes of images, 12 ids of annotations, 12 areas, 12 iscrowd'
    assert json.loads(path.read_text()) == lacking  # never in place


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@hypothesis.given(data=st.data())
@hypothesis.settings(max_examples=150, deadline=None)
def test_whatever_stands_in_a_file_is_accepted_or_refused_in_one_line(squares, data):
    folder, content = squares
    changed = copy.deepcopy(content)
    kind = data.draw(st.sampled_from(list(content)))
    entry = data.draw(st.sampled_from(changed[kind]))
    entry[data.draw(st.sampled_from(list(entry)))] = data.draw(json_values)
    path = folder / 'drawn.json'
    path.write_text(json.dumps(changed))
    try:
        findings = check_split(read_split('train', [str(path), str(folder / 'train')]), masks=True)
        lines = [finding.text for finding in findings]
    except UserError as error:
        lines = [str(error)]
    assert all(len(line.splitlines()) == 1 for line in lines)
