"""What published weights need of a net that stands in no checkpoint: padding, eps and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmblocks.layers.residual import Bottleneck
from mmblocks.layers.same_padding import Conv2dSamePadding


class Published(NamedTuple):
    """Weights that a library has published for a net.

    Attributes:
        library: The library.
        models: What it calls them, such as 'tf_efficientnet_*'.
        name: Regular expression of a model's name, in small letters and with _ for -, as it
            stands in an address or the name of a file, behind its beginning or another _.
        mapping: Name of the mapping that their tensors have; None for the net's own names, which
            files that anybody trained with this net have too.
        needs: What the net must have for the same maps, by the names in ``TRAITS``.
        other: What makes the outputs of these models others than the net's, if there is such.
        only_named: Whether they are thought of only where ``name`` tells; of the net's own names
            always.
    """

    library: str
    models: str
    name: str
    mapping: str | None
    needs: Mapping[str, Any] = {}
    other: str | None = None
    only_named: bool = False

    @property
    def whose(self) -> str:
        """What to call them."""
        return f"{self.library}'s {self.models}"

    def fits(self, net: nn.Module) -> bool:
        """Whether a net gives the same maps as the models, once it has their weights."""
        return not self.other and not self._differing(net)

    def to_write(self, net: nn.Module) -> str:
        """Returns the arguments that the config of a net needs for the same maps.

        Args:
            net: The net; arguments that are right already are left out.
        """
        return ', '.join(
            TRAITS[trait].argument(value, net) for trait, value in self._differing(net).items()
        )

    def _differing(self, net: nn.Module) -> dict[str, Any]:
        return {
            trait: value
            for trait, value in self.needs.items()
            if not TRAITS[trait].of(net) <= {value}
        }


class _Trait(NamedTuple):
    """What distinguishes nets of the same tensors.

    Attributes:
        of: Gives the values that a net has of it; none where it makes no difference.
        argument: Writes the argument that gives a net a value.
    """

    of: Callable[[nn.Module], set]
    argument: Callable[[Any, nn.Module], str]


def _eps(net: nn.Module) -> set[float]:
    return {part.eps for part in _own_parts(net) if isinstance(part, _BatchNorm)}


def _eps_argument(eps: float, net: nn.Module) -> str:
    synced = any(isinstance(part, nn.SyncBatchNorm) for part in net.modules())
    return f"norm_cfg=dict(type='{'SyncBN' if synced else 'BN'}', eps={eps:g})"


def _padding(net: nn.Module) -> set[str]:
    return {
        'same' if isinstance(part, (Conv2dSamePadding, Conv2dAdaptivePadding)) else 'symmetric'
        for part in _own_parts(net)
        if isinstance(part, nn.Conv2d) and max(part.stride) > 1 and max(part.kernel_size) > 1
    }


def _padding_argument(padding: str, net: nn.Module) -> str:
    same = "dict(type='mmblocks.Conv2dSamePadding')"
    return f'conv_cfg={same if padding == "same" else None}'


def _activations(net: nn.Module) -> set[str]:
    parts = (getattr(part, 'activate', None) for part in _own_parts(net))
    return {type(part).__name__ for part in parts if part is not None}


def _styles(net: nn.Module) -> set[str]:
    """Tells which convolution has the stride in the bottlenecks that have one."""
    strides = [
        (_stride(block.conv1), _stride(block.conv2))
        for block in net.modules()
        if isinstance(block, Bottleneck)
    ]
    return {'caffe' if first > 1 else 'pytorch' for first, second in strides if first * second > 1}


def _stride(conv: nn.Module) -> int:
    # Layers that a config puts in place of a convolution may count in one int.
    stride = getattr(conv, 'stride', 1)
    return stride if isinstance(stride, int) else max(stride)


TRAITS = {
    'padding': _Trait(_padding, _padding_argument),
    'eps': _Trait(_eps, _eps_argument),
    'activation': _Trait(_activations, lambda name, net: f"act_cfg=dict(type='{name}')"),
    'style': _Trait(_styles, lambda style, net: f'style={style!r}'),
}


def _own_parts(net: nn.Module) -> Iterator[nn.Module]:
    """Returns the parts of a net but for those that a config has put into it."""
    inserted = getattr(net, 'inserted', {})
    others = tuple(f'{name}.' for name, entry in inserted.items() if entry.by != 'dcn')
    for name, module in net.named_modules():
        if not f'{name}.'.startswith(others) or not others:
            yield module


class Doubt(NamedTuple):
    """Why a net may give other maps than the models whose weights it has loaded.

    Attributes:
        text: The reason, and what to write.
        certain: Whether it does.
    """

    text: str
    certain: bool


def doubt_about(
    net: nn.Module, published: Sequence[Published], source: str, mapping: str | None
) -> Doubt | None:
    """Returns whether a net gives the maps of the models that some weights are from.

    Args:
        net: The net.
        published: What there is for it.
        source: Address or file of the weights.
        mapping: Name of the mapping that they have.

    Returns:
        None where it does, or where nothing is known about the weights.
    """
    if mapping not in {row.mapping for row in published}:
        mapping = None
    rows = [row for row in published if row.mapping == mapping]
    named = _named(rows, source)
    if named is not None:
        rows = [named]
    else:
        rows = [row for row in rows if row.mapping and not row.only_named]
    if all(row.fits(net) for row in rows):
        return None
    if len(rows) == 1:
        return _certain(net, rows[0])
    told = '; '.join(f'{row.whose} ({_needed(net, row)})' for row in rows)
    return Doubt(
        f'its names do not tell which models it is from, whose maps differ: {told}. Write what '
        "they need, or keep the model's name in the name of the file",
        certain=False,
    )


def _named(rows: Sequence[Published], source: str) -> Published | None:
    for name in model_names(source):
        for row in rows:
            if re.search(f'(?:^|_)(?:{row.name})', name):
                return row
    return None


def _certain(net: nn.Module, row: Published) -> Doubt:
    if row.other:
        return Doubt(f'{row.whose} are other nets under the same names: {row.other}', certain=True)
    return Doubt(
        f'{type(net).__name__} as it is gives other maps than {row.whose}: write '
        f'{row.to_write(net)}',
        certain=True,
    )


def _needed(net: nn.Module, row: Published) -> str:
    if row.other:
        return f'other nets: {row.other}'
    return row.to_write(net) or 'as this net is'


_HUB = re.compile(r'(?:models--[^/]+?--|huggingface\.co/[^/]+/|hf-hub:[^/]+/)([^/@]+)')
_NO_NAME = re.compile(r'(pytorch_)?model\.(safetensors|bin|pth?)')


def model_names(source: str) -> Iterator[str]:
    """Returns the names that may tell a model, likeliest first: in small letters, _ for - and /.

    Args:
        source: The address or path of its weights.

    Example:
        >>> next(model_names('https://huggingface.co/timm/resnet50.a1_in1k/model.safetensors'))
        'resnet50.a1_in1k'
        >>> list(model_names('weights/tf_efficientnet-b0_aa.pth'))
        ['tf_efficientnet_b0_aa.pth']
    """
    scheme, _, path = source.replace('\\', '/').partition('?')[0].rpartition('://')
    *folders, file = path.split('/')
    names = [
        *_HUB.findall(path)[-1:],
        folders[-1] if folders and _NO_NAME.fullmatch(file) else file,
    ]
    # Of an address all of it is chosen by those who published the weights.
    names += [path] if scheme else []
    yield from (re.sub('[-/]', '_', name.lower()) for name in names)


def unmet_needs(net: nn.Module) -> list[tuple[Published, str]]:
    """Lists the models whose weights need what a net does not have.

    Args:
        net: The net.

    Returns:
        Models, and the arguments to write for them; models that are other nets are left out.
    """
    return [
        (row, row.to_write(net))
        for row in getattr(net, 'published', ())
        if not row.other and not row.fits(net)
    ]
