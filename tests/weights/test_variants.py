"""The weights of a deeper net do not pass for those of a shallower one, nor the other way round."""

import logging
import re

import pytest
import torch

import mmblocks
from mmblocks.utils.errors import UserError
from mmblocks.weights import load_pretrained
from mmblocks.weights.convert import named_as
from tests.parity import randomise

EFFICIENT = dict(type='EfficientNet', out_indices=(2, 3, 4, 5))
# Each net, and what makes it shallower or deeper; the blocks that both have are of one size.
DEPTHS = (
    (dict(type='ResNet', base_channels=8), *(dict(depth=d) for d in (18, 34))),
    (dict(type='ResNetV1c', base_channels=8), *(dict(depth=d) for d in (18, 34))),
    (dict(type='ResNetV1d', base_channels=8), *(dict(depth=d) for d in (18, 34))),
    (dict(type='SEResNet', base_channels=8), *(dict(depth=d) for d in (18, 34))),
    (dict(type='PreActSEResNet', base_channels=8), *(dict(depth=d) for d in (18, 34))),
    (dict(type='SENet', base_channels=8), *(dict(arch=d) for d in ('18', '34'))),
    *(
        (EFFICIENT, *(dict(arch=dict(family=f, widen_factor=0.25, deepen_factor=d)) for d in pair))
        for f, pair in (('b', (0.3, 0.6)), ('e', (0.3, 0.6)))
    ),
    (
        dict(type='DenseNet', out_indices=-1),
        *(
            dict(arch=dict(growth_rate=8, depths=[2, 2, 2, d], init_channels=16))
            for d in (24, 25)
        ),
    ),
    (
        dict(type='InceptionNeXt'),
        *(dict(arch=dict(depths=[1, 1, d, 1], widths=[32, 64, 64, 128])) for d in (1, 2)),
    ),
    (dict(type='CSPDarknet', widen_factor=0.125), *(dict(deepen_factor=d) for d in (0.33, 0.67))),
    (dict(type='FPN', out_channels=8, num_outs=4), *(dict(in_channels=[8] * n) for n in (3, 4))),
)  # fmt: skip


def build(cfg, options):
    cfg = dict(cfg, **options)
    return getattr(mmblocks, cfg.pop('type'))(**cfg)


def spellings(net):
    """Returns the state dict of a net under all the names that it can be written with."""
    state_dict = randomise(net).state_dict()
    mappings = getattr(net, 'key_mappings', ())
    yield state_dict
    for mapping in mappings:
        try:
            named = named_as(state_dict, mapping.name, mappings, mapping.name.split(), 'net')
        except UserError:  # not of this net
            continue
        yield named.state_dict


@pytest.mark.parametrize(
    ('cfg', 'shallow', 'deep'), DEPTHS, ids=lambda value: value.get('type', '') or str(value)
)
def test_another_depth_is_a_warning_or_an_error(cfg, shallow, deep, tmp_path, log):
    path = str(tmp_path / 'net.pth')
    for theirs, ours in ((shallow, deep), (deep, shallow)):
        for state_dict in spellings(build(cfg, theirs)):
            torch.save(state_dict, path)
            log.clear()
            try:
                load_pretrained(build(cfg, ours), path)
            except UserError:
                continue
            assert max(record.levelno for record in log.records) == logging.WARNING, (
                f'{cfg} of {theirs} as {ours}: {next(iter(state_dict))}'
            )
            assert re.search(r' (missing|without a place here|of another size): ', log.text)
