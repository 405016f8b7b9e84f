"""The table of parity, which the other modules fill, and what the whole of it says."""

from __future__ import annotations

from typing import Any

from tests.peers import Pair

PAIRS: list[Pair] = []
# Pairs whose names and shapes alone are compared, on the meta device.
SHAPES: list[Pair] = []
# Pairs whose keys are the same.
SAME_KEYS = frozenset(
    f'{net}-{library}'
    for library, nets in dict(
        mmdet='ResNet ResNetV1d ResNeXt MobileNetV2 EfficientNet CSPDarknet',
        mmpretrain='ResNet ResNeXt SEResNet MobileNetV3 ShuffleNetV1 ShuffleNetV2 EfficientNet '
        'LeNet5 AlexNet',
        torchvision='ResNet ResNeXt DenseNet GoogLeNet AlexNet VGG SqueezeNet',
        timm='ResNet ResNeXt SENet PreActSEResNet MobileNetV1 MobileNetV4 GhostNet InceptionNeXt',
    ).items()
    for net in nets.split()
)
# Nets whose keys have the same order, too.
SAME_ORDER = (
    *('AlexNet', 'CSPDarknet', 'EfficientNet', 'InceptionNeXt', 'LeNet5', 'MobileNetV2'),
    *('MobileNetV3', 'SqueezeNet'),
)

FOUR, FIVE, SEVEN, EIGHT = (tuple(range(count)) for count in (4, 5, 7, 8))
CLASSES = dict(num_classes=5)
BN = dict(type='BN')
# The modules of torchvision's and timm's ResNets that give our outputs.
LAYERS = r'layer[1-4]'


def add(cfg: dict[str, Any], library: str, name: Any, **fields: Any) -> None:
    """Adds a pair to the table."""
    if cfg.keys() & {'output_stride', 'dilations', 'dcn'}:
        # On smaller maps their outer taps would meet nothing but padding.
        fields.setdefault('size', (65, 83))
    PAIRS.append(Pair(cfg, library, name, **fields))


def add_openmmlab(cfg: dict[str, Any], *libraries: str, **fields: Any) -> None:
    """Adds pairs whose other net takes our arguments."""
    options = {key: value for key, value in cfg.items() if key != 'type'}
    for library in libraries:
        add(cfg, library, cfg['type'], options=options, **fields)


def add_shapes(cfg: dict[str, Any], library: str, name: str, **options: Any) -> None:
    """Adds a pair whose names and shapes alone are compared."""
    SHAPES.append(Pair(cfg, library, name, options))


def one_of_each() -> list[Pair]:
    """Returns the first pair of each net and library, without classifier."""
    first: dict[str, Pair] = {}
    for pair in PAIRS:
        if 'num_classes' not in pair.cfg:
            first.setdefault(str(pair), pair)
    return list(first.values())
