"""One line per backbone: the smallest form of it that the generic tests can run."""

from __future__ import annotations

from typing import Any, NamedTuple


class Net(NamedTuple):
    """A backbone under test.

    Attributes:
        cfg: Its config, small.
        num_outputs: How many outputs can be asked for.
        in_channels: Channels of its images.
    """

    cfg: dict[str, Any]
    num_outputs: int
    in_channels: int = 3

    def __str__(self) -> str:
        """Names the test case."""
        return '-'.join(str(value) for value in self.cfg.values())


NETS = (
    Net(dict(type='ResNet', depth=18, base_channels=8), 4),
    Net(dict(type='ResNet', depth=50, base_channels=8), 4),
    Net(dict(type='ResNetV1c', depth=18, base_channels=8), 4),
    Net(dict(type='ResNetV1d', depth=50, base_channels=8), 4),
    Net(dict(type='ResNeXt', depth=50, base_channels=8, groups=4, base_width=4), 4),
    Net(dict(type='SEResNet', depth=50, base_channels=8), 4),
    Net(dict(type='GhostNet', width=0.25), 10),
    Net(dict(type='MobileNetV1', widen_factor=0.25), 5),
    Net(dict(type='MobileNetV2', widen_factor=0.25), 8),
    Net(dict(type='MobileNetV3', arch='small_050'), 13),
    Net(dict(type='ShuffleNetV1', groups=3, widen_factor=0.25), 3),
    Net(dict(type='ShuffleNetV2', widen_factor=0.5), 4),
)
