"""What a net does with the ``conv_cfg`` and ``plugins`` of its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

from mmblocks.layers.positions import AFTER_BLOCK, PARALLEL
from mmblocks.plugins.insert import insert_plugins, plugin_positions
from mmblocks.plugins.parse import PLUGINS
from mmblocks.plugins.replace_convs import ConvReplacement, parse_conv_replacement, replace_convs
from mmblocks.utils.checks import check
from mmblocks.weights.module import WeightedModule


class StitchableModule(WeightedModule):
    """A chain of groups into which a config stitches layers.

    A concrete net calls `stitch_with` before it builds its groups; the base puts the layers in
    when they are there.

    Args:
        init_cfg: MMEngine's initialisation config.
    """

    _group_names: list[tuple[str, ...]]

    def __init__(self, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self._swap: ConvReplacement | None = None
        self._plugins: tuple[dict, ...] = ()
        # The positions in the chain of the groups that are counted.
        self._stage_groups: tuple[int, ...] = ()
        # Of groups that have no blocks: names of plugins by position.
        self._group_plugins: dict[int, dict[str, list[str]]] = {}

    def stitch_with(
        self,
        conv_cfg: Mapping | None,
        plugins: Sequence[dict] | None = None,
        plain_cfg: Mapping | None = None,
    ) -> Mapping | None:
        """Takes what a config stitches into the net.

        Args:
            conv_cfg: The net's argument: convolution layers, or a layer that takes the place of
                some of them.
            plugins: The net's argument: modules to insert.
            plain_cfg: What the net is built with where layers take the place of some convolutions.

        Returns:
            What the net's convolutions are to be built with.
        """
        self._swap = parse_conv_replacement(conv_cfg)
        check('plugins', plugins, PLUGINS, optional=True)
        self._plugins = tuple(plugins or ())
        return conv_cfg if self._swap is None else plain_cfg

    @property
    def _is_stitched(self) -> bool:
        return self._swap is not None or bool(self._plugins)

    @property
    def plugin_positions(self) -> tuple[str, ...]:
        """Where ``plugins`` can stand in this net."""
        return plugin_positions(self, [self._group_names[i] for i in self._stage_groups])

    def _stitch(self, stages: Sequence[int], cut: bool) -> None:
        """Puts the layers in; ``cut`` says that there are more stages, which were not built."""
        self._stage_groups = tuple(stages)
        names = [self._group_names[i] for i in stages]
        if self._swap is not None:
            replace_convs(self, names, self._swap, cut)
        if self._plugins:
            whole = insert_plugins(self, names, self._plugins, cut)
            self._group_plugins = {stages[i]: by_position for i, by_position in whole.items()}

    def _parts(self, i: int) -> list[str]:
        """Names all that belongs to a group."""
        plugins = self._group_plugins.get(i, {})
        return [*self._group_names[i], *(name for names in plugins.values() for name in names)]

    def _run_plugins(self, i: int, x: Tensor, out: Tensor) -> Tensor:
        """Runs the plugins of a group that has no blocks, from its input and its output."""
        plugins = self._group_plugins.get(i, {})
        for name in plugins.get(PARALLEL, ()):
            beside = self.get_submodule(name)(x).to(out.dtype)
            # Without padding, the group's map falls short of what its stride says.
            out = out + F.interpolate(beside, out.shape[2:], mode='bilinear')
        for name in plugins.get(AFTER_BLOCK, ()):
            out = self.get_submodule(name)(out)
        return out
