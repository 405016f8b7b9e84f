"""What images published weights were trained on: mean, standard deviation and channel order."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

import mmengine

from mmblocks.utils.class_name import class_name

# Further apart than rounding takes them: grey levels of the means, share of the deviations.
_MEAN_TOLERANCE, _STD_TOLERANCE = 1.0, 0.02


class Preprocessing(NamedTuple):
    """How BGR images with values from 0 to 255 become the input of a net, in mmdet's terms.

    Attributes:
        mean: What is subtracted from each channel, behind the change of their order.
        std: What each channel is divided by then.
        bgr_to_rgb: Whether its input is RGB.

    Example:
        >>> vgg = Preprocessing.of([123, 117, 104], [1], bgr_to_rgb=True)
        >>> print(vgg)
        RGB with mean 123, 117, 104 and std 1
        >>> vgg.as_options()
        {'mean': [123, 117, 104], 'std': [1, 1, 1], 'bgr_to_rgb': True}
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr_to_rgb: bool

    @classmethod
    def of(
        cls, mean: Sequence[float] | None, std: Sequence[float] | None, bgr_to_rgb: bool
    ) -> Preprocessing | None:
        """Returns the preprocessing that a data preprocessor's arguments mean.

        Args:
            mean: One value or one per channel; None for images that are not normalised.
            std: The same.
            bgr_to_rgb: Whether it turns the channels round.

        Returns:
            None for images with values from 0 to 1, and where there are not three channels.
        """
        mean = [0] if mean is None else mean
        std = [1] if std is None else std
        if {len(mean), len(std)} - {1, 3} or max(std) < 1:
            return None
        return cls(tuple(mean) * (3 // len(mean)), tuple(std) * (3 // len(std)), bool(bgr_to_rgb))

    def agrees_with(self, other: Preprocessing) -> bool:
        """Returns whether another one makes the same images but for how numbers were rounded."""
        means = zip(self.mean, other.mean, strict=True)
        stds = zip(self.std, other.std, strict=True)
        return (
            self.bgr_to_rgb == other.bgr_to_rgb
            and all(abs(a - b) <= _MEAN_TOLERANCE for a, b in means)
            and all(abs(a - b) <= _STD_TOLERANCE * max(a, b) for a, b in stds)
        )

    def as_options(self) -> dict[str, Any]:
        """Returns the arguments of mmdet's ``DetDataPreprocessor``."""
        return dict(mean=list(self.mean), std=list(self.std), bgr_to_rgb=self.bgr_to_rgb)

    def __str__(self) -> str:
        """Returns it in words."""
        order = 'RGB' if self.bgr_to_rgb else 'BGR'
        if set(self.mean) == {0} and set(self.std) == {1}:
            return f'{order} from 0 to 255'
        return f'{order} with mean {_listed(self.mean)} and std {_listed(self.std)}'


def _listed(values: Sequence[float]) -> str:
    values = values[:1] if len(set(values)) == 1 else values
    return ', '.join(f'{value:g}' for value in values)


IMAGENET = Preprocessing((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True)
# The same, in the order of OpenCV.
IMAGENET_BGR = Preprocessing((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), False)
# Caffe's way, without a division: MSRA's ResNets, detectron's and detectron2's models.
CAFFE = Preprocessing((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), False)
# From -1 to 1.
INCEPTION = Preprocessing((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), True)
_CAFFE_RGB = Preprocessing((123.675, 116.28, 103.53), (1.0, 1.0, 1.0), True)
_FROM_0_TO_1 = Preprocessing((0.0, 0.0, 0.0), (255.0, 255.0, 255.0), True)
_AS_THEY_ARE = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False)

_OPENMMLAB = r'https?://download\.openmmlab\.com'
_DETECTRON2 = r'https?://dl\.fbaipublicfiles\.com/detectron2'
_MMCLS_FAMILIES = (
    'convnext|convnext-v2|cspnet|densenet|edgenext|efficientnet|fp16|hrnet|mobilenet_v2|'
    'mobilenet_v3|mobileone|repvgg|res2net|resnest|resnet|resnext|se-resnet|shufflenet_v1|'
    'shufflenet_v2|vgg|wrn'
)


class _Source(NamedTuple):
    """Where weights come from.

    Attributes:
        address: Pattern of their address, from its beginning.
        preprocessing: What their images were; None if that is not known.
    """

    address: str
    preprocessing: Preprocessing | None


# The first that matches counts.
_SOURCES = (
    # Their nets make these of ImageNet's mean and standard deviation themselves.
    _Source(r'torchvision://(googlenet|inception_v3)', INCEPTION),
    _Source(r'torchvision://(efficientnet_v2_l|ssdlite320)', INCEPTION),
    _Source(
        r'torchvision://(vgg16(_weights)?\.imagenet1k_features|vgg16_features|ssd300)', _CAFFE_RGB
    ),
    _Source(r'torchvision://', IMAGENET),
    _Source(r'open-mmlab://vgg16_caffe', _CAFFE_RGB),
    _Source(r'open-mmlab://detectron2/resnext', IMAGENET_BGR),
    _Source(r'open-mmlab://detectron2?/', CAFFE),
    _Source(r'open-mmlab://regnet', IMAGENET_BGR),
    _Source(r'open-mmlab://darknet', _FROM_0_TO_1),
    _Source(
        r'open-mmlab://(resne[xs]t\d|resnet\d+_v1c|res2net|contrib/|jhu/|msra/|mmdet/)', IMAGENET
    ),
    # CIFAR's pictures come as RGB, so that their configs do not say how to convert BGR ones.
    _Source(rf'{_OPENMMLAB}/mmclassification/.*_cifar', None),
    _Source(rf'{_OPENMMLAB}/mmclassification/v\d/efficientnet/.*-advprop', INCEPTION),
    _Source(rf'{_OPENMMLAB}/mmclassification/v\d/({_MMCLS_FAMILIES})/', IMAGENET),
    _Source(rf'{_OPENMMLAB}/mmclassification/v\d/regnet/', IMAGENET_BGR),
    _Source(rf'{_OPENMMLAB}/(mmdetection|mmtracking)/.*yolox', _AS_THEY_ARE),
    _Source(rf'{_OPENMMLAB}/mmdetection/.*/(yolov3_d53|darknet)', _FROM_0_TO_1),
    _Source(rf'{_OPENMMLAB}/mmdetection/.*ssd(300|512)_', _CAFFE_RGB),
    # Their configs feed these backbones other images than their own weights expect.
    _Source(rf'{_OPENMMLAB}/mmdetection/.*(/regnet/.*mstrain-poly|r101_caffe_fpn_mstrain)', None),
    _Source(
        rf'{_OPENMMLAB}/mmdetection/.*(x101[-_]32x8d|/regnet/|fcos_hrnet|/crowddet/|cspnext)',
        IMAGENET_BGR,
    ),
    _Source(rf'{_OPENMMLAB}/mmdetection/.*/rtmdet/rtmdet(-ins)?_(tiny|[smlx])_8xb', IMAGENET_BGR),
    _Source(
        rf'{_OPENMMLAB}/mmdetection/.*([-_]caffe|/gn/mask_rcnn_r\d+_fpn_gn-all_\dx|yolof_r50_c5)',
        CAFFE,
    ),
    _Source(
        rf'{_OPENMMLAB}/mmdetection/.*/(atss|cascade_rcnn|faster_rcnn|fcos|mask_rcnn|retinanet)/',
        IMAGENET,
    ),
    # Where timm is not installed; it knows best itself. The weights behind a bare name are those
    # of timm 1.0.
    _Source(r'timm://.*(\.ra4_|\.ap_in1k)', INCEPTION),
    _Source(r'timm://(mobilenetv1_|mobilenetv3_large_150d|tf_mobilenetv3)', INCEPTION),
    _Source(r'timm://(efficientnet_b1$|efficientnet_b\d_pruned)', INCEPTION),
    _Source(r'timm://tf_efficientnet_(b8$|cc_|e[lms]|lite)', INCEPTION),
    _Source(r'timm://mobilenetv4_conv_small(_0|\.e3600)', INCEPTION),
    _Source(r'timm://mobilenetv3_large_100\.miil_in21k', _FROM_0_TO_1),
    _Source(r'timm://.*_clip', None),
    _Source(
        r'timm://((legacy_)?(se)?resnext\d|(legacy_)?(se)?resnet\d|wide_resnet|legacy_senet|vgg|'
        r'densenet|ghostnet|inception_next|mobilenetv[234]_|(tf_)?efficientnet_b\d)',
        IMAGENET,
    ),
    _Source(rf'{_DETECTRON2}/.*X[-_]101[-_]32x8d', IMAGENET_BGR),
    _Source(rf'{_DETECTRON2}/(ImageNetPretrained/MSRA|COCO-.*_R_(50|101)_)', CAFFE),
)
# How the same files are called elsewhere.
_OTHER_NAMES = (
    (r'openmmlab://', 'open-mmlab://'),
    (r'(modelzoo://|https?://download\.pytorch\.org/models/)', 'torchvision://'),
    (r'https?://huggingface\.co/timm/([^/]+)/.*', r'timm://\1'),
)


def known_preprocessing(checkpoint: str, in_channels: int = 3) -> Preprocessing | None:
    """Returns what images the weights behind an address were trained on.

    Known are torchvision's weights, those that MMEngine has names for (``open-mmlab://``,
    ``mmcls://``), mmpretrain's of convolutional nets, the detectors of mmdet and detectron2 that
    backbones are taken from, and timm's; under their names, their addresses, and the first two
    also as files that keep their names, which end with a hash.

    Args:
        checkpoint: What ``init_cfg`` names.
        in_channels: Channels of the images.

    Returns:
        None if it is not known, or if the images are not RGB or BGR ones.

    Example:
        >>> print(known_preprocessing('open-mmlab://detectron2/resnet50_caffe'))
        BGR with mean 103.53, 116.28, 123.675 and std 1
        >>> print(known_preprocessing('checkpoints/googlenet-1378be20.pth'))
        RGB with mean 127.5 and std 127.5
        >>> known_preprocessing('work_dirs/mine/epoch_12.pth')
    """
    if in_channels != 3:
        return None
    address = _address(checkpoint)
    lookup = _timms_lookup() if address.startswith('timm://') else None
    if lookup is not None:
        return _from_timm(lookup, address.removeprefix('timm://'))
    return next((s.preprocessing for s in _SOURCES if re.match(s.address, address, re.I)), None)


def _address(checkpoint: str) -> str:
    """Returns the one address that the table above has for weights."""
    name = Path(urlparse(checkpoint).path).name
    if name in _named_files():
        return _named_files()[name]
    for pattern, replacement in _OTHER_NAMES:
        checkpoint = re.sub(f'^{pattern}', replacement, checkpoint)
    scheme, _, name = checkpoint.partition('://')
    if scheme == 'mmcls':
        return _hub('mmcls').get(name) or checkpoint
    if scheme == 'open-mmlab':
        return f'open-mmlab://{_hub("deprecated").get(name, name)}'
    return checkpoint


@functools.cache
def _named_files() -> dict[str, str]:
    """Returns the address of each file that MMEngine has a name for, by the file's name."""
    lists = {'torchvision_0.12': 'torchvision://{}', 'openmmlab': 'open-mmlab://{}', 'mmcls': None}
    return {
        address.rpartition('/')[2]: form.format(name) if form else address
        for file, form in lists.items()
        for name, address in _hub(file).items()
        if address is not None and re.search(r'-[0-9a-f]{8,}\.pth$', address)
    }


def _hub(name: str) -> dict[str, str | None]:
    return json.loads(Path(mmengine.__path__[0], 'hub', f'{name}.json').read_text())


def _timms_lookup() -> Callable[[str], Any] | None:
    try:
        from timm import get_pretrained_cfg
    except Exception:  # missing, or without the torchvision that it needs
        return None
    return get_pretrained_cfg


def _from_timm(lookup: Callable[[str], Any], name: str) -> Preprocessing | None:
    try:
        found = None if ':' in name else lookup(name)
    except RuntimeError:  # there are no such weights; loading says so
        found = None
    if found is None:
        return None
    mean, std = ([round(255 * value, 4) for value in values] for values in (found.mean, found.std))
    return Preprocessing.of(mean, std, bgr_to_rgb=True)


def normalizes_in_pipeline(dataloader: Any) -> bool:
    """Returns whether a dataloader's config has a transform that normalises its images."""
    if isinstance(dataloader, Mapping):
        normalizes = class_name(dataloader).endswith('Normalize')
        return normalizes or any(map(normalizes_in_pipeline, dataloader.values()))
    return isinstance(dataloader, (list, tuple)) and any(map(normalizes_in_pipeline, dataloader))
