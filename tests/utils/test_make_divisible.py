"""Channel rounding against timm's and mmdet's."""

from mmblocks.layers import make_divisible


def test_it_rounds_as_the_peers_do(peer, mmdet_models):
    from mmdet.models.utils import make_divisible as mmdets

    timms = peer('timm.layers').make_divisible
    for divisor in (4, 8):
        for width in (0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.3, 1.4, 2.0):
            for channels in (3, 16, 24, 40, 72, 112, 160, 960):
                value = make_divisible(channels * width, divisor)
                assert value == timms(channels * width, divisor)
                assert value == mmdets(channels * width, divisor)
