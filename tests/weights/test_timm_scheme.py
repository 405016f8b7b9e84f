"""``timm://``: through timm's own code, from its cache and without a network."""

import pytest
import torch
from safetensors.torch import save_file

from mmblocks import MobileNetV1
from mmblocks.utils.errors import UserError
from mmblocks.weights import load_pretrained
from tests.parity import randomise

NAME = 'mobilenetv1_100'


@pytest.fixture
def timm(peer, tmp_path, monkeypatch):
    """timm, offline, with an empty cache."""
    constants = peer('huggingface_hub.constants')
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    return peer('timm')


def put_into_cache(folder, timm, model):
    """Lays weights where the hub's client keeps what it has downloaded."""
    snapshot, tag = make_snapshot(folder, timm)
    save_file(model.state_dict(), snapshot / 'model.safetensors')
    return tag


def make_snapshot(folder, timm):
    """Makes the folder where the client keeps a version of a repository."""
    cfg = timm.get_pretrained_cfg(NAME)
    repository = folder / f'models--timm--{NAME}.{cfg.tag}'
    snapshot = repository / 'snapshots' / 'a1b2c3'
    snapshot.mkdir(parents=True)
    (repository / 'refs').mkdir()
    (repository / 'refs' / 'main').write_text('a1b2c3')
    return snapshot, cfg.tag


def test_weights_come_from_timms_cache(timm, tmp_path):
    theirs = randomise(timm.create_model(NAME)).eval()
    tag = put_into_cache(tmp_path, timm, theirs)
    x = torch.rand(1, 3, 64, 64)
    for name in (NAME, f'{NAME}.{tag}'):
        ours = MobileNetV1(init_cfg=dict(type='Pretrained', checkpoint=f'timm://{name}'))
        ours.init_weights()
        assert ours.load_reports[0].mapping == 'timm'
        with torch.no_grad():
            last = ours.eval()(x)[-1]
            torch.testing.assert_close(last, theirs.forward_features(x), rtol=1e-5, atol=1e-5)


def test_what_is_not_in_the_cache_is_said(timm):
    with pytest.raises(UserError, match=f'timm://{NAME}: timm cannot get the weights: '):
        load_pretrained(MobileNetV1(), f'timm://{NAME}')


def test_code_in_a_file_of_the_cache_is_refused_and_not_advertised(timm, tmp_path):
    snapshot, _ = make_snapshot(tmp_path, timm)
    torch.save(dict(weight=torch.ones(2), code=print), snapshot / 'pytorch_model.bin')
    with pytest.raises(UserError) as caught:
        load_pretrained(MobileNetV1(), f'timm://{NAME}')
    assert 'is refused: it asks for print' in str(caught.value)
    assert 'weights_only' not in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('mobilenetv1_1000', r'knows no mobilenetv1_1000; did you mean .*mobilenetv1_100'),
        (f'{NAME}.nowhere', rf'has no such weights; it has {NAME}\.ra4'),
        ('resnet10t.none', 'has no such weights; it has resnet10t'),
        ('vgg11.none', 'has no such weights; it has vgg11'),
    ],
)
def test_a_wrong_name_is_said(name, expected, timm):
    with pytest.raises(UserError, match=expected):
        load_pretrained(MobileNetV1(), f'timm://{name}')
