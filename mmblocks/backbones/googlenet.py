"""GoogLeNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, cast

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmblocks.backbones.base import BaseBackbone, Group
from mmblocks.backbones.classifier import (
    optional_classifier,
    outputs_with_classifier,
    pooled_linear,
)
from mmblocks.backbones.traits import EPS
from mmblocks.backbones.variant import Variant
from mmblocks.layers.conv_module import ConvModule
from mmblocks.layers.inception import Inception, InceptionAux
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType
from mmblocks.weights.key_mapping import drop_parts, register_key_mappings
from mmblocks.weights.published import Published


class _Block(NamedTuple):
    """An Inception block.

    Attributes:
        name: The end of its name.
        widths: Channels of its convolutions, in the order of Inception's arguments.
        pool_size: Kernel of the pooling of stride 2 in front of it, in pixels; 0 for none.
        auxiliary: Name of the auxiliary classifier on it; empty for none.
    """

    name: str
    widths: tuple[int, int, int, int, int, int]
    pool_size: int = 0
    auxiliary: str = ''


@MODELS.register_module()
class GoogLeNet(BaseBackbone):
    """`Going deeper with convolutions <https://arxiv.org/abs/1409.4842>`_, with BatchNorm.

    The net and its state-dict keys are torchvision's, with its 3x3 convolutions where the paper
    has 5x5. The maps are the last ones of the strides 2, 4, 8, 16 and 32: behind ``conv1``,
    ``conv3``, ``inception3b``, ``inception4e`` and ``inception5b``. The 3x3 poolings do not pad:
    they round half of an odd size down.

    The default ``norm_cfg`` is that of torchvision's weights, which load as they are. They expect
    RGB images with 0.5 as mean and standard deviation (torchvision converts to that inside its
    net, ``transform_input``), so ``data_preprocessor`` needs ``mean=[127.5, 127.5, 127.5],
    std=[127.5, 127.5, 127.5], bgr_to_rgb=True``. Their auxiliary classifiers are not trained.

    With ``num_classes`` and ``aux_logits``, training gives two more outputs in front of the
    logits, those of the auxiliary classifiers on ``inception4a`` and ``inception4d``; the paper
    adds their losses with weight 0.3, as the example does. In eval mode only the logits are
    given. The last output is the logits always, so a head that reads the last one alone works
    too; but the auxiliary classifiers get no gradient then, which DistributedDataParallel
    refuses: use ``aux_logits=False``.

    Arguments that are not listed are those of all nets: see :class:`BaseBackbone`.

    Args:
        aux_logits: Whether a net with a classifier has the auxiliary ones.
        out_indices: Which of the five maps to give, 0 to 4. Default: (1, 2, 3, 4), so strides 4
            to 32; with a classifier none.
        frozen_stages: 0 freezes ``conv1``, 1 also up to ``conv3``, 2 to 10 also the first one to
            nine of the Inception blocks.
        aux_drop_rate: ``drop_rate`` of the auxiliary classifiers.
        **kwargs: Arguments of :class:`BaseBackbone`.

    Example:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> images, labels = torch.rand(2, 3, 64, 64), torch.tensor([0, 2])
        >>> [tuple(x.shape) for x in GoogLeNet()(images)]
        [(2, 192, 16, 16), (2, 480, 8, 8), (2, 832, 4, 4), (2, 1024, 2, 2)]
        >>> net = GoogLeNet(num_classes=3)
        >>> aux1, aux2, logits = net(images)
        >>> auxiliary = F.cross_entropy(aux1, labels) + F.cross_entropy(aux2, labels)
        >>> (F.cross_entropy(logits, labels) + 0.3 * auxiliary).backward()
        >>> len(net.eval()(images))
        1
    """

    variants = (Variant('GoogLeNet', {}, ('torchvision',)),)
    published = (
        Published('torchvision', 'googlenet', 'googlenet(_1378be20|$)', None, {EPS: 1e-3}),
    )
    # The paper's table 1.
    blocks: ClassVar[tuple[_Block, ...]] = (
        _Block('3a', (64, 96, 128, 16, 32, 32), pool_size=3),
        _Block('3b', (128, 128, 192, 32, 96, 64)),
        _Block('4a', (192, 96, 208, 16, 48, 64), pool_size=3, auxiliary='aux1'),
        _Block('4b', (160, 112, 224, 24, 64, 64)),
        _Block('4c', (128, 128, 256, 24, 64, 64)),
        _Block('4d', (112, 144, 288, 32, 64, 64), auxiliary='aux2'),
        _Block('4e', (256, 160, 320, 32, 128, 128)),
        _Block('5a', (256, 160, 320, 32, 128, 128), pool_size=2),
        _Block('5b', (384, 192, 384, 48, 128, 128)),
    )

    def __init__(
        self,
        num_classes: int = -1,
        aux_logits: bool = True,
        out_indices: int | Sequence[int] | None = None,
        conv_cfg: ConfigType | None = None,
        norm_cfg: ConfigType | None = dict(type='BN', eps=0.001),
        act_cfg: ConfigType | None = dict(type='ReLU'),
        in_channels: int = 3,
        drop_rate: float = 0.2,
        aux_drop_rate: float = 0.7,
        **kwargs: Any,
    ) -> None:
        check_arguments(GoogLeNet, locals())
        out_indices = outputs_with_classifier(num_classes, out_indices, (1, 2, 3, 4))
        super().__init__(out_indices, **kwargs)
        layers = dict(conv_cfg=conv_cfg, norm_cfg=norm_cfg, act_cfg=act_cfg)
        groups = self._groups(in_channels, layers)
        classifier = optional_classifier(num_classes, pooled_linear, name='fc', drop_rate=drop_rate)
        self.add_groups(groups, 5, classifier)
        # Names of the auxiliary classifiers by the position of their group in the chain.
        self._auxiliary: dict[int, str] = {}
        if num_classes < 0:
            register_key_mappings(self, [drop_parts('torchvision', 'aux1', 'aux2', 'fc')])
            return
        if not aux_logits:
            register_key_mappings(self, [drop_parts('torchvision', 'aux1', 'aux2')])
            return
        for i, block in enumerate(self.blocks, self.num_groups - len(self.blocks)):
            if block.auxiliary:
                inception = cast(Inception, self.group(i)[-1])
                head = InceptionAux(inception.out_channels, num_classes, aux_drop_rate, **layers)
                self.add_module(block.auxiliary, head)
                self._auxiliary[i] = block.auxiliary

    def _groups(self, in_channels: int, layers: ConfigType) -> Iterator[Group]:
        stem = ConvModule(in_channels, 64, 7, stride=2, padding=3, **layers)
        yield Group({'conv1': stem}, 64, 2)
        stem_end = {
            'maxpool1': _pool(3),
            'conv2': ConvModule(64, 64, 1, **layers),
            'conv3': ConvModule(64, 192, 3, padding=1, **layers),
        }
        yield Group(stem_end, 192, 4)
        channels, stride, num_pools = 192, 4, 1
        # A map is an output if a smaller one, or nothing, follows.
        outputs = [bool(following.pool_size) for following in self.blocks[1:]] + [True]
        for block, is_output in zip(self.blocks, outputs, strict=True):
            modules: dict[str, nn.Module] = {}
            if block.pool_size:
                stride, num_pools = stride * 2, num_pools + 1
                modules[f'maxpool{num_pools}'] = _pool(block.pool_size)
            inception = Inception(channels, *block.widths, **layers)
            modules[f'inception{block.name}'] = inception
            channels = inception.out_channels
            yield Group(modules, channels, stride, is_output)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps and the logits.

        Args:
            x: Images, (N, in_channels, H, W).

        Returns:
            One map per entry of ``out_indices``, highest resolution first, each
            (N, out_channels[i], H / out_strides[i], W / out_strides[i]); behind them, where there
            is a classifier, in training the logits of the auxiliary ones, and its own logits,
            all (N, num_classes).
        """
        maps, auxiliary = [], []
        for i in range(self.num_groups):
            x = self.run_group(i, x)
            if i in self._out_groups:
                maps.append(x)
            if self.training and i in self._auxiliary:
                auxiliary.append(self.get_submodule(self._auxiliary[i])(x))
        logits = [self._classify(x)] if self.classifier_names else []
        return (*maps, *auxiliary, *logits)


def _pool(kernel_size: int) -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size, stride=2, ceil_mode=True)
