"""Pascal VOC and YOLO folders, read into COCO's form."""

import shutil

import pytest
from PIL import Image

from mmblocks.own_data import check_split, read_split
from mmblocks.utils.errors import UserError

OBJECT = """<object><name>{}</name><difficult>{}</difficult><bndbox>
<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"""
OBJECTS = {
    'a': [('dog', 0, 1, 1, 30, 20), ('cat', 1, 5, 6, 40, 47)],
    'b': [('cat', 0, 10, 12, 64, 48)],
    'c': [],
}


@pytest.fixture
def voc(tmp_path):
    """A folder of Pascal VOC with a list."""
    root = tmp_path / 'VOC2007'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / name).mkdir(parents=True)
    for stem, objects in OBJECTS.items():
        Image.new('RGB', (64, 48)).save(root / 'JPEGImages' / f'{stem}.jpg')
        size = '<size><width>64</width><height>48</height><depth>3</depth></size>'
        inside = ''.join(OBJECT.format(*obj) for obj in objects)
        text = f'<annotation><filename>{stem}.jpg</filename>{size}{inside}</annotation>'
        (root / 'Annotations' / f'{stem}.xml').write_text(text)
    (root / 'ImageSets' / 'Main' / 'some.txt').write_text('b\na\n')
    return root


def boxes(split):
    """Per file the class, corners, and whether it is a crowd, of each object."""
    names = {category['id']: category['name'] for category in split.content['categories']}
    found = {image['id']: [] for image in split.content['images']}
    for a in split.content['annotations']:
        x, y, w, h = a['bbox']
        box = (names[a['category_id']], [x, y, x + w, y + h], a['iscrowd'])
        found[a['image_id']].append(box)
    return {image['file_name']: found[image['id']] for image in split.content['images']}


def test_voc_boxes_are_where_mmdet_has_them(voc):
    from mmdet.datasets import VOCDataset

    split = read_split('train', [str(voc), 'some'])
    dataset = VOCDataset(
        data_root=str(voc.parent),
        ann_file='VOC2007/ImageSets/Main/some.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        metainfo=dict(classes=('cat', 'dog')),
        test_mode=True,
        pipeline=[],
    )
    assert split.classes == ('cat', 'dog')
    theirs = {
        record['img_path'].rpartition('/')[2]: [
            (split.classes[i['bbox_label']], i['bbox'], i['ignore_flag'])
            for i in record['instances']
        ]
        for record in (dataset.get_data_info(i) for i in range(len(dataset)))
    }
    assert boxes(split) == theirs
    assert sum(map(len, theirs.values())) == 3
    assert check_split(split) == []


def test_voc_without_a_list_is_read_whole(voc):
    assert list(boxes(read_split('train', [str(voc)]))) == ['a.jpg', 'b.jpg', 'c.jpg']
    (voc / 'ImageSets' / 'Main' / 'train.txt').write_text('b\n')
    assert list(boxes(read_split('train', [str(voc)]))) == ['b.jpg']


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('<annotation><object>', 'is no XML'),
        (
            '<!DOCTYPE x [<!ENTITY a "aaa"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>',
            'defines entities',
        ),
        (OBJECT.format('dog', 0, 1, 'nan', 3, 4), "object has the name 'dog'"),
        (OBJECT.format('', 0, 1, 1, 3, 4), "object has the name ''"),
        (OBJECT.format('dog', 0, 'x', 1, 3, 4), "object 'dog' has the box ['x', '1', '3', '4']"),
    ],
    ids=['cut', 'entities', 'nan', 'no name', 'no number'],
)
def test_a_wrong_annotation_of_voc_is_refused(voc, text, said):
    (voc / 'Annotations' / 'a.xml').write_text(text)
    with pytest.raises(UserError) as error:
        read_split('train', [str(voc)])
    assert said in str(error.value)
    assert 'a.xml' in str(error.value)


def test_a_file_name_of_voc_leads_nowhere_else(voc):
    text = (voc / 'Annotations' / 'a.xml').read_text()
    (voc / 'Annotations' / 'a.xml').write_text(text.replace('a.jpg', '../../secret.jpg'))
    assert 'a.jpg' in boxes(read_split('train', [str(voc)]))


def test_a_list_of_voc_leads_nowhere_else(voc):
    (voc / 'ImageSets' / 'Main' / 'some.txt').write_text('../../../secret\n')
    with pytest.raises(UserError, match='is no name of an image'):
        read_split('train', [str(voc), 'some'])


def test_a_list_that_is_not_there_is_refused_with_those_that_are(voc):
    with pytest.raises(UserError, match='lists there: some'):
        read_split('train', [str(voc), 'trainval'])


def test_classes_that_are_not_named_are_refused(voc):
    with pytest.raises(UserError, match="objects of class 'dog', but the classes are cat"):
        read_split('train', [str(voc)], ['cat'])


@pytest.fixture
def yolo(tmp_path):
    """A folder of YOLO: images/train, labels/train and data.yaml."""
    root = tmp_path / 'set'
    (root / 'images' / 'train').mkdir(parents=True)
    (root / 'labels' / 'train').mkdir(parents=True)
    for stem in ('a', 'b'):
        Image.new('RGB', (80, 40)).save(root / 'images' / 'train' / f'{stem}.png')
    (root / 'labels' / 'train' / 'a.txt').write_text('1 0.5 0.5 0.25 0.5\n0 0 0 0.5 0 0.5 0.5\n')
    (root / 'data.yaml').write_text('path: .\nnames:\n  0: boat\n  1: ship\n')
    return root


def test_yolo_boxes_are_shares_of_the_image(yolo):
    split = read_split('train', [str(yolo / 'images' / 'train')])
    assert split.classes == ('boat', 'ship')
    assert boxes(split) == {
        'a.png': [('ship', [30, 10, 50, 30], 0), ('boat', [0, 0, 40, 20], 0)],
        'b.png': [],
    }
    assert split.content['annotations'][1]['segmentation'] == [[0, 0, 40, 0, 40, 20]]


def test_yolo_folders_may_stand_the_other_way_round(yolo, tmp_path):
    for kind in ('images', 'labels'):
        shutil.copytree(yolo / kind / 'train', tmp_path / 'other' / 'train' / kind)
    (tmp_path / 'other' / 'data.yaml').write_text('names: [boat, ship]\n')
    split = read_split('train', [str(tmp_path / 'other' / 'train')])
    assert boxes(split) == boxes(read_split('train', [str(yolo / 'images' / 'train')]))


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('2 0.5 0.5 0.1 0.1', 'class 2, but there are 2'),
        ('-1 0.5 0.5 0.1 0.1', 'class -1, but there are 2'),
        ('0 0.5 0.5 0.1', 'got 3 numbers'),
        ('0 0.5 0.5 0.1 nan', '4 finite numbers'),
        ('boat 0.5 0.5 0.1 0.1', 'is not numbers'),
    ],
)
def test_a_wrong_line_of_yolo_is_refused(yolo, line, said):
    (yolo / 'labels' / 'train' / 'b.txt').write_text(f'\n{line}\n')
    with pytest.raises(UserError) as error:
        read_split('train', [str(yolo / 'images' / 'train')])
    assert said in str(error.value)
    assert 'b.txt, line 2' in str(error.value)


@pytest.mark.parametrize(
    'text',
    [
        'names: 3',
        'names: {0: a, 5: b}',
        '[1, 2]',
        'names: [',
        'names: !!python/object/apply:os.getcwd []',
        '',
    ],
)
def test_a_wrong_data_yaml_is_refused_and_runs_nothing(yolo, text):
    (yolo / 'data.yaml').write_text(text)
    with pytest.raises(UserError, match=r'data\.yaml'):
        read_split('train', [str(yolo / 'images' / 'train')])


def test_without_data_yaml_the_classes_are_given(yolo):
    (yolo / 'data.yaml').unlink()
    folder = str(yolo / 'images' / 'train')
    with pytest.raises(UserError, match='--classes'):
        read_split('train', [folder])
    assert read_split('train', [folder], ['x', 'y']).classes == ('x', 'y')


@pytest.mark.parametrize('paths', [['.'], ['nowhere'], ['.', 'a', 'b']])
def test_what_is_none_of_the_forms_is_refused(paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='--train'):
        read_split('train', paths)
