"""What published weights need of a net that stands in no checkpoint: padding, eps and the like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn


class Trait(NamedTuple):
    """A property in which nets of the same tensors can differ, such as how they pad.

    Attributes:
        of: Returns the values that a net has of it; none where it makes no difference.
        argument: Returns the argument of a config that sets a value.
    """

    of: Callable[[nn.Module], set[Any]]
    argument: Callable[[Any, nn.Module], str]


class Published(NamedTuple):
    """Weights that a library has published for a net.

    Attributes:
        library: The library.
        models: What it calls them, such as 'tf_efficientnet_*'.
        name: Regular expression of a model's name, in small letters and with _ for -, as it
            stands in an address or the name of a file, behind its beginning or another _.
        mapping: Name of the key mapping that they load by; None for the net's own names, which
            files that anybody trained with this net have too.
        needs: Which traits the net must have, and which values of them, for the same maps.
        other: What makes the outputs of these models others than the net's, if there is such.
        only_named: Whether only ``name`` says that weights are these, and not their keys; it is
            always so with keys that are the net's own.
    """

    library: str
    models: str
    name: str
    mapping: str | None
    needs: Mapping[Trait, Any] = {}
    other: str | None = None
    only_named: bool = False

    @property
    def whose(self) -> str:
        """Returns what to call them."""
        return f"{self.library}'s {self.models}"

    def fits(self, net: nn.Module) -> bool:
        """Returns whether a net has the same outputs as the models, given their weights."""
        return not self.other and not self._differing(net)

    def to_write(self, net: nn.Module) -> str:
        """Returns the arguments that the config of a net needs for the same maps.

        Args:
            net: The net; arguments that are right already are left out.
        """
        return ', '.join(
            trait.argument(value, net) for trait, value in self._differing(net).items()
        )

    def _differing(self, net: nn.Module) -> dict[Trait, Any]:
        return {trait: value for trait, value in self.needs.items() if not trait.of(net) <= {value}}


class Doubt(NamedTuple):
    """Why a net may have other outputs than the models whose weights it has loaded.

    Attributes:
        text: The reason, and what to write.
        certain: Whether it does.
    """

    text: str
    certain: bool


def doubt_about(
    net: nn.Module, published: Sequence[Published], source: str, mapping: str | None
) -> Doubt | None:
    """Returns why a net may have other outputs than the models that some weights are from.

    Args:
        net: The net.
        published: What there is for it.
        source: Address or file of the weights.
        mapping: Name of the key mapping that they were loaded by.

    Returns:
        None where it has the same, or where nothing is known about the weights.
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
    models = '; '.join(f'{row.whose} ({_needed(net, row)})' for row in rows)
    return Doubt(
        f'its names do not tell which models it is from, whose maps differ: {models}. Write what '
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
    """Returns what may be a model's name, likeliest first: in small letters, _ for - and /.

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
