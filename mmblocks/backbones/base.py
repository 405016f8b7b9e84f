"""What every backbone of mmblocks shares: outputs, freezing, checkpointing, plugins, weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import ClassVar

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmblocks.backbones.freezing import freeze, parameters_of
from mmblocks.backbones.group import (
    Classifier,
    Group,
    add_modules,
    as_indices,
    blocks_of,
    resolve_out_indices,
)
from mmblocks.backbones.random_tensors import RandomTensors
from mmblocks.backbones.variant import Variant
from mmblocks.inference.frozen import FrozenForm
from mmblocks.plugins.insert import Inserted, PluginChain, insert_plugins, plugin_positions
from mmblocks.plugins.replace_convs import dcn_convs, replace_convs
from mmblocks.utils.checkpoint import checkpoint_block
from mmblocks.utils.checks import check_arguments
from mmblocks.utils.types import ConfigType, MultiConfig
from mmblocks.weights.init_cfg import check_init_cfg, init_random, load_init_cfg
from mmblocks.weights.key_mapping import KeyMapping
from mmblocks.weights.published import Published
from mmblocks.weights.report import LoadReport

__all__ = ['BaseBackbone', 'Group']


class BaseBackbone(BaseModule):
    """A chain of groups from an image to feature maps; group 0 is the stem.

    A concrete net passes its options to ``super().__init__`` and ends its own ``__init__`` with
    ``self.add_groups(...)``. Groups past the last output are never built, so that a detector
    carries no parameter that gets no gradient. A net whose paper includes the classifier may give
    one along; its logits come behind the maps. Weights of a classifier that a net does not have
    are left out while loading.

    These arguments are the same in all nets that have them, and documented here only:

    - ``in_channels``: Channels of the images.
    - ``conv_cfg``: Convolution layers; None for Conv2d.
    - ``norm_cfg``: Norm layers; None for none, behind convolutions with bias.
    - ``act_cfg``: Activation layers; None, where it is accepted, for none.
    - ``output_stride``: Most image pixels per pixel of any map; with 8 or 16, strides past it
      become dilations, for dense prediction.
    - ``drop_path_rate``: Rate of stochastic depth at the last block, at least 0 and below 1; over
      the blocks it grows linearly, from 0 at the first.
    - ``num_classes``: Classes of the classifier; -1 for none. With one, its logits are the only
      output where ``out_indices`` is left out.
    - ``drop_rate``: Dropout rate in front of the classifier.
    - ``pretrained``: Deprecated: a checkpoint to load; use ``init_cfg``.

    Args:
        out_indices: Which groups give an output, counted over the groups that can. Any order;
            negative values count from the end. One int is taken as a sequence of one. May be
            empty where there is a classifier.
        frozen_stages: -1 freezes nothing, 0 the stem if the net has one, k also the k groups
            behind it: their parameters get no gradient and they stay in eval mode.
        norm_eval: Keep every BatchNorm (SyncBN included) in eval mode during training; not for a
            net that starts without weights, which then learns no statistics.
        with_cp: What is computed again in backward to save memory: True for each block,
            'norm_act' for all but the convolutions, whose outputs are kept, which takes more
            memory and less time. Of the stem no convolution is computed again in either.
        init_cfg: MMEngine's initialisation config; default: the net's ``default_init_cfg``.
            ``dict(type='Pretrained', checkpoint=...)`` takes the arguments of
            :func:`mmblocks.weights.load_pretrained`; what the weights lack starts by the default.
        plugins: Modules to insert behind convolutions or blocks, or parallel to blocks: dicts
            with ``cfg``, ``position``, ``stages`` and ``init``, as
            :func:`mmblocks.plugins.parse.parse_plugins` says.
        replace_convs: Layers to put in place of convolutions: dicts with ``cfg``, ``stages``,
            ``kernels`` and ``fallback_on_stride``, as
            :func:`mmblocks.plugins.replace_convs.parse_conv_replacements` says.

    Attributes:
        default_init_cfg: How a net starts: Kaiming for the convolutions, if nothing else is said.
        out_channels: Channels of each output.
        out_strides: Image pixels per pixel of each output.
        inserted: What ``plugins``, ``replace_convs`` and ``dcn`` have put into the net, by name.
        load_reports: What each of the checkpoints in ``init_cfg`` has filled, once initialised.
        variants: Its rows of the table of backbones.
        published: What the weights that libraries publish need that stands in no checkpoint.
        key_mappings: The libraries whose names for its tensors it knows.

    Raises:
        ValueError: An argument is not what it may be, or names what the net does not have.
        TypeError: There is no such argument.

    Example:
        >>> import torch
        >>> class Tiny(BaseBackbone):
        ...     def __init__(self, out_indices=(0, 1), **kwargs):
        ...         super().__init__(out_indices, **kwargs)
        ...         groups = [
        ...             Group({'stem': nn.Conv2d(3, 4, 3, 2, 1)}, 4, 2, is_output=False),
        ...             Group({'layer1': nn.Conv2d(4, 8, 3, 2, 1)}, 8, 4),
        ...             Group({'layer2': nn.Conv2d(8, 16, 3, 2, 1)}, 16, 8),
        ...         ]
        ...         self.add_groups(groups, num_outputs=2)
        >>> net = Tiny(frozen_stages=0)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 32, 32))]
        [(1, 8, 8, 8), (1, 16, 4, 4)]
        >>> net.out_channels, net.out_strides
        ((8, 16), (4, 8))
    """

    default_init_cfg: ClassVar[list[ConfigType]] = [
        dict(type='Kaiming', layer='Conv2d'),
        dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
    ]
    variants: Sequence[Variant] = ()
    published: Sequence[Published] = ()
    key_mappings: Sequence[KeyMapping] = ()

    def __init__(
        self,
        out_indices: int | Sequence[int],
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool | str = False,
        init_cfg: MultiConfig | None = None,
        plugins: Sequence[ConfigType] | None = None,
        replace_convs: Sequence[ConfigType] | None = None,
    ) -> None:
        check_arguments(BaseBackbone, locals())
        check_init_cfg(init_cfg)
        super().__init__(copy.deepcopy(self.default_init_cfg if init_cfg is None else init_cfg))
        self.out_indices = as_indices(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.plugins = plugins
        self.replace_convs = replace_convs
        self.inserted: dict[str, Inserted] = {}
        self._inserted_text = ''
        self.load_reports: list[LoadReport] = []
        # Names of each group's modules; names, as modules may be replaced (SyncBN, fusing).
        self._group_names: list[tuple[str, ...]] = []
        # Which of the groups can give an output, and which do.
        self._stage_groups: tuple[int, ...] = ()
        self._out_groups: tuple[int, ...] = ()
        # Plugins of groups that are no blocks, which run with the group.
        self._group_plugins: dict[int, list[PluginChain]] = {}
        self.classifier_names: tuple[str, ...] = ()
        # Parameters of the frozen groups that had no gradient before they were frozen.
        self._held_back: set[str] = set()
        self._frozen_form = FrozenForm()

    def add_groups(
        self, groups: Iterable[Group], num_outputs: int, classifier: Classifier | None = None
    ) -> None:
        """Builds the chain as far as it is needed; the last step of a net's ``__init__``.

        Args:
            groups: The whole chain, stem first. A generator is read only as far as the last
                output needs, or to its end where there is a classifier.
            num_outputs: How many of the groups are outputs.
            classifier: Makes the modules from the last map to the logits. They are no group:
                never frozen, never recomputed.
        """
        self.out_indices = resolve_out_indices(
            self.out_indices, num_outputs, type(self).__name__, may_be_empty=classifier is not None
        )
        num_wanted = num_outputs if classifier else self.out_indices[-1] + 1
        stages: list[Group] = []
        for group in groups:
            if group.is_output:
                stages.append(group)
                self._stage_groups += (len(self._group_names),)
            self._group_names.append(tuple(group.modules))
            add_modules(self, group.modules)
            if len(stages) == num_wanted:
                break
        self._out_groups = tuple(self._stage_groups[i] for i in self.out_indices)
        self.out_channels = tuple(stages[i].channels for i in self.out_indices)
        self.out_strides = tuple(stages[i].stride for i in self.out_indices)
        if classifier is not None:
            modules = classifier(stages[-1].channels)
            self.classifier_names = tuple(modules)
            add_modules(self, modules)
        self._insert(num_outputs)
        self.check_frozen_stages(self.frozen_stages)
        self._freeze_groups()
        self._random_tensors = RandomTensors(self)

    def _insert(self, num_stages: int) -> None:
        stages = [self._group_names[i] for i in self._stage_groups]
        self.inserted |= dcn_convs(self, stages)
        self.inserted |= replace_convs(self, stages, self.replace_convs, num_stages, self.inserted)
        inserted, whole = insert_plugins(self, stages, self.plugins, num_stages)
        self.inserted |= inserted
        self._group_plugins = {self._stage_groups[i]: chains for i, chains in whole.items()}
        self._inserted_text = str(self.inserted)

    @property
    def has_classifier(self) -> bool:
        """Whether logits come behind the maps."""
        return bool(self.classifier_names)

    @property
    def num_groups(self) -> int:
        """Number of groups that are built, the stem included."""
        return len(self._group_names)

    @property
    def plugin_positions(self) -> tuple[str, ...]:
        """Where ``plugins`` can stand in this net."""
        return plugin_positions(self, [self._group_names[i] for i in self._stage_groups])

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
        frozen = self._run_frozen_groups(x)
        for i in range(self.num_groups):
            x = frozen[i] if i < len(frozen) else self.run_group(i, x)
            if i in self._out_groups:
                outs.append(x)
        if self.classifier_names:
            outs.append(self._classify(x))
        return tuple(outs)

    def _run_frozen_groups(self, x: Tensor) -> list[Tensor]:
        """Returns the outputs of the frozen groups in training, where they can run faster."""
        frozen = range(self.frozen_stages + 1)
        if not self.training or any(i in self._group_plugins for i in frozen):
            return []
        return self._frozen_form.run([self.group(i) for i in frozen], x)

    def run_group(self, i: int, x: Tensor) -> Tensor:
        """Runs a group of the chain with its plugins.

        Args:
            i: Its position in the chain; 0 is the stem.
            x: The output of the group before it, or the images.
        """
        out = x
        # torch.compile takes its code for one net for another of the class where nothing differs
        # that the code has read, and it does not look for hooks where there were none.
        _ = len(self._inserted_text)
        # As everywhere in OpenMMLab, the stem's convolutions are not computed again.
        if self.with_cp == 'norm_act' or (self.with_cp and i == 0):
            out = checkpoint_block(self.group(i), out, keep_convs=True)
        elif self.with_cp:
            for block in blocks_of(self.group(i)):
                out = checkpoint_block(block, out)
        else:
            for module in self.group(i):
                out = module(out)
        for chain in self._group_plugins.get(i, ()):
            out = chain(self, (x,), out)
        return out

    def group_names(self, i: int) -> tuple[str, ...]:
        """Names the modules of a group, without its plugins, in running order."""
        return self._group_names[i]

    def group(self, i: int) -> list[nn.Module]:
        """Returns the modules of a group, without its plugins, in running order."""
        return [self.get_submodule(name) for name in self._group_names[i]]

    def _classify(self, x: Tensor) -> Tensor:
        for name in self.classifier_names:
            x = self.get_submodule(name)(x)
        return x

    def init_weights(self) -> None:
        """Initialises the weights, then loads those that ``init_cfg`` names."""
        if self.is_init:
            super().init_weights()
            return
        init_random(self, super().init_weights, self.default_init_cfg)
        self._random_tensors = RandomTensors(self)
        self.load_reports += load_init_cfg(self)
        print_log(self.frozen_summary(), logger='current')

    def check_frozen_stages(self, k: int) -> None:
        """Raises unless there is so much to freeze.

        Args:
            k: As the constructor's ``frozen_stages``.

        Raises:
            ValueError: It is out of range.
        """
        last = self.num_groups - 1
        if isinstance(k, bool) or not isinstance(k, int) or not -1 <= k <= last:
            raise ValueError(
                f'frozen_stages={k!r} of {type(self).__name__} with '
                f'out_indices={self.out_indices}: must be an int from -1 (nothing) over 0 (the '
                f'stem) to {last} (everything)'
            )

    def set_frozen_stages(self, frozen_stages: int) -> None:
        """Changes how much is frozen; parameters that other causes hold back stay held back.

        A DDP wrapper only knows the parameters that were trainable when it was made: wrap the
        model anew afterwards, as ``UnfreezeHook`` does.

        Args:
            frozen_stages: As the constructor's.

        Raises:
            ValueError: It is out of range; nothing has changed then.
        """
        self.check_frozen_stages(frozen_stages)
        # By the names of today, as modules may have been parametrized, fused or replaced since;
        # and all of them before anything changes.
        before = parameters_of(self, self._names_up_to(self.frozen_stages))
        parameters_of(self, self._names_up_to(frozen_stages))
        for name, parameter in before.items():
            if name not in self._held_back and parameter.is_floating_point():
                parameter.requires_grad_(True)
        self.frozen_stages = frozen_stages
        self._freeze_groups()
        self._set_mode(self.training)

    def _freeze_groups(self) -> None:
        names = self._names_up_to(self.frozen_stages)
        parameters = parameters_of(self, names)
        self._held_back = {name for name, p in parameters.items() if not p.requires_grad}
        freeze(self, names)

    def frozen_summary(self) -> str:
        """Says in one line what is frozen and how many parameters are left to train."""
        groups = list(self.group_parts().items())[: self.frozen_stages + 1]
        frozen = [title for title, parts in groups if parts]
        total = sum(p.numel() for p in self.parameters())
        trainable = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return (
            f'{type(self).__name__} with frozen_stages={self.frozen_stages}: '
            f'frozen are {", ".join(frozen) or "no groups"}; {trainable:,} of {total:,} '
            'parameters are trainable'
        )

    def group_parts(self) -> dict[str, list[str]]:
        """Names the modules of each group that have parameters, those of plugins too.

        The stem is called so, each other group by the first and the last of its own. Where a net
        has no stem, it is empty.
        """
        groups = {}
        for i, own in enumerate(self._group_names):
            parts = [
                name
                for name in self.part_names(i)
                if next(self.get_submodule(name).parameters(), None) is not None
            ]
            named = [name for name in parts if name in own] or list(own)
            title = ' to '.join(dict.fromkeys((named[0], named[-1]))) if i else 'stem'
            groups[title] = parts
        return groups

    def part_names(self, i: int) -> list[str]:
        """Names the modules of a group and of its plugins."""
        chains = self._group_plugins.get(i, ())
        return [*self._group_names[i], *(name for chain in chains for name in chain.names)]

    def _names_up_to(self, k: int) -> list[str]:
        return [name for i in range(k + 1) for name in self.part_names(i)]

    def train(self, mode: bool = True) -> BaseBackbone:
        """Sets training mode; frozen groups, and with norm_eval every BatchNorm, stay in eval."""
        self._set_mode(mode)
        # Whatever loads weights before a training has done so.
        if mode:
            self._random_tensors.warn(
                self, self.group_parts(), self.frozen_stages + 1, self.norm_eval
            )
        return self

    def _set_mode(self, training: bool) -> None:
        self._frozen_form.drop()
        super().train(training)
        if training:
            freeze(self, self._names_up_to(self.frozen_stages))
            for module in self.modules() if self.norm_eval else ():
                if isinstance(module, _BatchNorm):
                    module.eval()
