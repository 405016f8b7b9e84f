"""mmcv's ConvModule, made to heed a net's initialisation config."""

from __future__ import annotations

from mmcv import cnn


class ConvModule(cnn.ConvModule):
    """Convolution, norm and activation: mmcv's, whose arguments and keys it has.

    mmcv's draws its weights again after the ``init_cfg`` of the net around it was applied, so
    that the config has no effect; this one leaves them.

    Example:
        >>> import torch
        >>> conv = ConvModule(3, 8, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))
        >>> conv(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def init_weights(self) -> None:
        """Changes nothing."""
