"""What every backbone of mmblocks shares: outputs, freezing, norm_eval and checkpointing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import index
from typing import ClassVar, NamedTuple

import torch
from mmengine.model import Sequential as InitSequential
from torch import Tensor, nn

from mmblocks.backbones.freezable import FreezableModule
from mmblocks.utils.checkpoint import checkpoint_block


class Group(NamedTuple):
    """A link of a backbone's chain: the stem, or what lies between two possible outputs.

    Attributes:
        modules: Modules by the dotted name that they get in the backbone, in running order.
            Children of an ``nn.Sequential`` are blocks of their own for checkpointing; other
            neighbouring modules make one block together.
        channels: Channels of the group's output.
        stride: Input pixels per output pixel, counted from the image.
        is_output: Whether ``out_indices`` counts the group. Stems mostly are not counted.
    """

    modules: dict[str, nn.Module]
    channels: int
    stride: int
    is_output: bool = True


class BaseBackbone(FreezableModule):
    """A chain of groups from an image to feature maps; group 0 is the stem.

    A concrete net passes its options to ``super().__init__`` and ends its own ``__init__`` with
    ``self.add_groups(...)``. Groups past the last output are never built, so that a detector
    carries no parameter that gets no gradient. A net whose paper includes the classifier may give
    one along; its logits come behind the maps.

    Args:
        out_indices: Which groups give an output, counted over the groups that can. Any order;
            negative values count from the end. One int is taken as a sequence of one. May be
            empty where there is a classifier.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and the k groups behind it:
            their parameters get no gradient and they stay in eval mode.
        norm_eval: Keep every BatchNorm (SyncBN included) in eval mode during training; not for a
            net that starts without weights, which then learns no statistics.
        with_cp: Recompute each block's activations in backward to save memory.
        init_cfg: MMEngine's initialisation config; default: Kaiming for convolutions.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` names what the net does not have.

    Example:
        >>> import torch
        >>> class Tiny(BaseBackbone):
        ...     def __init__(self, out_indices=(0, 1), **kwargs):
        ...         super().__init__(out_indices, **kwargs)
        ...         self.add_groups([
        ...             Group({'stem': nn.Conv2d(3, 4, 3, 2, 1)}, 4, 2, is_output=False),
        ...             Group({'layer1': nn.Conv2d(4, 8, 3, 2, 1)}, 8, 4),
        ...             Group({'layer2': nn.Conv2d(8, 16, 3, 2, 1)}, 16, 8),
        ...         ])
        >>> net = Tiny(frozen_stages=0)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 32, 32))]
        [(1, 8, 8, 8), (1, 16, 4, 4)]
        >>> net.out_channels, net.out_strides
        ((8, 16), (4, 8))
    """

    default_init_cfg: ClassVar[list[dict]] = [
        dict(type='Kaiming', layer='Conv2d'),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
    ]

    def __init__(
        self,
        out_indices: int | Sequence[int],
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            frozen_stages, norm_eval, self.default_init_cfg if init_cfg is None else init_cfg
        )
        self.out_indices = _as_indices(out_indices)
        self.with_cp = with_cp
        self._is_cut = False

    def add_groups(
        self, groups: Iterable[Group], classifier: dict[str, nn.Module] | None = None
    ) -> None:
        """Registers the groups, resolves ``out_indices`` and freezes; the last step of building.

        Args:
            groups: The whole chain, stem first. A generator is read only as far as the last
                output needs.
            classifier: Modules from the last group's map to the logits, by the names that they
                get, in running order. They are no group: never frozen, never recomputed.
        """
        groups = list(groups if classifier else self._until_last_output(groups))
        taps = [i for i, group in enumerate(groups) if group.is_output]
        self.out_indices = self._resolve_out_indices(len(taps), needed=not classifier)
        every = len(groups)
        if not classifier:
            groups = groups[: taps[self.out_indices[-1]] + 1]
        self._group_names: list[tuple[str, ...]] = []
        self.classifier_names = tuple(classifier or ())
        for group in groups:
            for name, module in group.modules.items():
                _add_dotted(self, name, module)
            self._group_names.append(tuple(group.modules))
        for name, module in (classifier or {}).items():
            _add_dotted(self, name, module)
        self._stitch([i for i in taps if i < len(groups)], cut=self._is_cut or len(groups) < every)
        # The position in the chain of each output.
        self._out_groups = tuple(taps[i] for i in self.out_indices)
        self.out_channels = tuple(groups[i].channels for i in self._out_groups)
        self.out_strides = tuple(groups[i].stride for i in self._out_groups)
        self._start_frozen()

    def _until_last_output(self, groups: Iterable[Group]) -> Iterator[Group]:
        # A negative index counts from the end, which only the whole chain knows.
        last = None if min(self.out_indices, default=-1) < 0 else max(self.out_indices)
        taps = 0
        groups = iter(groups)
        for group in groups:
            yield group
            taps += group.is_output
            if last is not None and taps > last:
                if self._is_stitched:
                    # Made without numbers, the next stage takes no memory and leaves chance alone.
                    with torch.device('meta'):
                        self._is_cut = any(group.is_output for group in groups)
                return

    def _resolve_out_indices(self, num_taps: int, needed: bool) -> tuple[int, ...]:
        name = type(self).__name__
        if needed and not self.out_indices:
            raise ValueError(f'out_indices=() of {name}: must be one or more ints')
        for i in self.out_indices:
            if not -num_taps <= i < num_taps:
                raise ValueError(
                    f'out_indices={self.out_indices} of {name}: there is no output {i}; '
                    f'outputs are 0 to {num_taps - 1} (or -{num_taps} to -1 from the end)'
                )
        resolved = sorted(i % num_taps for i in self.out_indices)
        if len(set(resolved)) != len(resolved):
            raise ValueError(f'out_indices={self.out_indices} of {name} names an output twice')
        return tuple(resolved)

    def _group(self, i: int) -> list[nn.Module]:
        # Looked up by name each time: modules may have been replaced (SyncBN conversion, fusing).
        return [self.get_submodule(name) for name in self._group_names[i]]

    @property
    def has_classifier(self) -> bool:
        """Whether logits come behind the maps."""
        return bool(self.classifier_names)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps.

        Args:
            x: Images, (N, in_channels, H, W).

        Returns:
            One map per entry of ``out_indices``, highest resolution first: map i is about
            (N, out_channels[i], H / out_strides[i], W / out_strides[i]). Behind them, where
            there is a classifier, its logits, (N, num_classes).
        """
        outs = []
        for i in range(len(self._group_names)):
            x = self._run_group(i, x)
            if i in self._out_groups:
                outs.append(x)
        if self.classifier_names:
            outs.append(self._classify(x))
        return tuple(outs)

    def _run_group(self, i: int, x: Tensor) -> Tensor:
        out = x
        # As everywhere in OpenMMLab, the stem itself is not recomputed.
        if self.with_cp and i > 0:
            for block in self._blocks(i):
                out = checkpoint_block(block, out)
        else:
            for module in self._group(i):
                out = module(out)
        return self._run_plugins(i, x, out)

    def _classify(self, x: Tensor) -> Tensor:
        for name in self.classifier_names:
            x = self.get_submodule(name)(x)
        return x

    def _blocks(self, i: int) -> Iterator[list[nn.Module]]:
        """Cuts a group into the runs of modules that are each recomputed as one."""
        plain: list[nn.Module] = []
        for module in self._group(i):
            if not isinstance(module, nn.Sequential):
                plain.append(module)
                continue
            if plain:
                yield plain
                plain = []
            for block in module:
                yield [block]
        if plain:
            yield plain


def _as_indices(value: int | Sequence[int]) -> tuple[int, ...]:
    try:
        values = tuple(value) if isinstance(value, Iterable) else (value,)
        if not any(isinstance(i, bool) for i in values):
            return tuple(map(index, values))  # numpy's ints are ints too
    except TypeError:
        pass
    raise ValueError(f'out_indices={value!r}: must be one or more ints')


def _add_dotted(root: nn.Module, name: str, module: nn.Module) -> None:
    *parents, leaf = name.split('.')
    for parent in parents:
        if not hasattr(root, parent):
            # MMEngine's Sequential, since plain containers hide children's init_cfg from it.
            root.add_module(parent, InitSequential())
        root = getattr(root, parent)
    root.add_module(leaf, module)
