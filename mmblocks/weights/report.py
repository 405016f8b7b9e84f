"""What loading weights has done, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

# How the names of each library look, the telling ones first.
_LOOKS = (
    ("detectron2's", r'(.*\.)?(res2\.0\.conv1|fpn_lateral\d|bottom_up)'),
    ("Caffe2's, as early detectron2 files have them", r'res2_0_branch2a'),
    (
        "mmpretrain's",
        r'(.*\.)?(layer\d+\.\d+\.conv\.\d\.(conv|bn)|branch1\.\d\.conv|features\.\d+\.conv\.weight)',
    ),
    ("mmdet's or mmpretrain's", r'(.*\.)?(layer\d+\.\d+\.\w+_conv\.conv|layers\.\d+\.\d+\.)'),
    ("timm's", r'(.*\.)?(conv_stem|blocks\.\d+\.\d+\.|stages\.\d+\.blocks)'),
    ("mmdet's", r'(.*\.)?(lateral_convs\.\d|stage\d\.\d\.main_conv)'),
    ("torchvision's", r'(.*\.)?(features\.\d+|stage\d\.\d+\.branch|inner_blocks|inception3a)'),
    ("torchvision's or timm's", r'(.*\.)?denseblock\d'),
    ("a ResNet's, as mmdet and torchvision have them", r'(.*\.)?layer1\.0\.conv1'),
    ("a vision transformer's", r'(.*\.)?(patch_embed|cls_token|encoder\.layers?\.)'),
)
# Libraries whose nets mmblocks does not have.
_OTHERS = (
    ('ultralytics', r'(model\.)+\d+\.(conv|bn|cv\d|m|dfl|linear)\.'),
    (
        'mmyolo',
        r'(.*\.)?(bbox_head\.head_module|neck\.(top_down|bottom_up)_layers|stem\.rbr_\w+|'
        r'stage\d\.\d+\.(block\.\d+\.)?rbr_\w+|stage\d\.\d+\.blocks\.\d+\.\d+\.conv|'
        r'stage4\.2\.conv1\.conv)\.',
    ),
)
_SHOWN = 4

# A name, the size there, or the class of what is no tensor, and the size here.
Mismatch = tuple[str, tuple[int, ...] | str, tuple[int, ...]]


class LoadReport(NamedTuple):
    """Which tensors of a module have found weights. BatchNorm's counters are left out.

    Attributes:
        module: Class of the module.
        source: Where the weights come from.
        matched: Tensors of the module that were filled.
        missing: Tensors of the module that the weights lack.
        added: Tensors that a config adds to the net, such as plugins, which are initialised anew.
        mismatched: Tensors of another size there.
        unexpected: Names that the module has no place for.
        mapping: The library whose names they had; None if they had the module's own.
        prefix: What stood in front of the names.
        others: Number of tensors of other parts of the model that the weights are from.
        doubt: Why the maps may be others than those of the model that the weights are from.
    """

    module: str
    source: str
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    added: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    unexpected: tuple[str, ...]
    mapping: str | None = None
    prefix: str = ''
    others: int = 0
    doubt: str = ''

    @property
    def wanted(self) -> int:
        """Returns the number of tensors that weights were looked for."""
        return len(self.matched) + len(self.missing) + len(self.mismatched)

    @property
    def share(self) -> float:
        """Returns the share of them that were filled."""
        return len(self.matched) / self.wanted if self.wanted else 0.0

    @property
    def is_full(self) -> bool:
        """Returns whether all of them were filled."""
        return len(self.matched) == self.wanted

    def __str__(self) -> str:
        """Returns a few lines; those that would be empty are left out."""
        names = f'{self.mapping} names' if self.mapping else 'its own names'
        under = f' under {self.prefix}' if self.prefix else ''
        return '\n'.join(
            [
                f'{self.module} from {self.source} ({names}{under}): {self._counts}'
                + (f', {self.others} of other parts left out' if self.others else ''),
                *(f'  {len(items)} {what}: {listed(items)}' for what, items in self._others()),
                *([f'  {self.doubt}'] if self.doubt else []),
            ]
        )

    @property
    def in_one_line(self) -> str:
        """Returns the counts, with a few names of what is not as it should be."""
        others = (f'{len(items)} {what} ({listed(items)})' for what, items in self._others())
        return ', '.join([self._counts, *others])

    @property
    def _counts(self) -> str:
        return f'{len(self.matched)} of {self.wanted} tensors loaded'

    def _others(self) -> list[tuple[str, Sequence[str]]]:
        """Returns what there is besides the tensors that were loaded."""
        mismatched = [f'{name} {given} for {wanted}' for name, given, wanted in self.mismatched]
        kinds: list[tuple[str, Sequence[str]]] = [
            ('missing', self.missing),
            ('of another size', mismatched),
            ('without a place here', self.unexpected),
            ('new, initialised', self.added),
        ]
        return [(what, items) for what, items in kinds if items]


def looks_like(names: Sequence[str], report: LoadReport | None = None) -> str:
    """Returns whose names these look like, and what to do.

    Args:
        names: The names in a state dict.
        report: What of them a module has a place for, if one was asked.

    Example:
        >>> looks_like(['conv_stem.weight', 'blocks.0.0.conv_pw.weight'])
        "Its names look like timm's (conv_stem.weight, blocks.0.0.conv_pw.weight): are they of \
another net, or of another size of this one?"
    """
    shown = listed(names)
    for library, look in _OTHERS:
        if any(map(re.compile(look).match, names)):
            return (
                f"Its names are {library}'s ({shown}), those of a net that mmblocks does not have"
            )
    if report and len(report.matched) + len(report.mismatched) >= report.wanted / 2:
        theirs = f'{report.mapping} names of' if report.mapping else 'those of'
        return f'Its names are {theirs} {report.module} ({shown}), of another size or variant of it'
    whose = next((who for who, look in _LOOKS if any(map(re.compile(look).match, names))), None)
    if report and report.mapping:
        whose = f"{report.mapping}'s"
    if whose is None:
        return (
            f'Its names ({shown}) are of no known library: name the part to load with prefix=, or '
            'rename them'
        )
    return (
        f'Its names look like {whose} ({shown}): are they of another net, or of another size of '
        'this one?'
    )


def listed(items: Sequence[str]) -> str:
    """Returns the first few of some names.

    Example:
        >>> listed(['a', 'b', 'c', 'd', 'e'])
        'a, b, c, d, ...'
    """
    shown = ', '.join(items[:_SHOWN])
    return f'{shown}, ...' if len(items) > _SHOWN else shown
