"""mmcv's ConvModule, which leaves weights to the net's initialisation config."""

from __future__ import annotations

from typing import Any

from mmcv import cnn
from torch import Tensor

from mmblocks.layers.norm import check_groups_of_norm
from mmblocks.utils.checks import shown
from mmblocks.utils.errors import first_line
from mmblocks.utils.lookup import find_layer


class ConvModule(cnn.ConvModule):
    """Convolution, norm and activation: mmcv's, whose arguments and keys it has.

    mmcv's draws its weights again after the ``init_cfg`` of the net was applied, so that the
    config has no effect; this one leaves them.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        *args: The other arguments of mmcv's.
        **kwargs: The same.

    Raises:
        ValueError: The norm's groups do not divide the channels, or ``conv_cfg`` cannot be built.

    Example:
        >>> import torch
        >>> conv = ConvModule(3, 8, 3, stride=2, padding=1, norm_cfg=dict(type='BN'))
        >>> conv(torch.rand(1, 3, 8, 8)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int, *args: Any, **kwargs: Any) -> None:
        check_groups_of_norm(kwargs.get('norm_cfg'), out_channels)
        if (kwargs.get('act_cfg') or {}).get('type') == 'Swish':
            # The same function; of mmcv's, autograd keeps two maps.
            kwargs['act_cfg'] = dict(type='SiLU')
        if (cfg := kwargs.get('conv_cfg')) is not None:
            kwargs['conv_cfg'] = dict(cfg, type=find_layer(cfg['type'], 'conv_cfg'))
        try:
            super().__init__(in_channels, out_channels, *args, **kwargs)
        except Exception as error:
            # Norms and activations were checked before, with the arguments of the block.
            if cfg is None:
                raise
            raise ValueError(
                f'conv_cfg={shown(cfg)}: cannot be built here: {first_line(error)}'
            ) from error
        self._is_plain = self.order == ('conv', 'norm', 'act') and not self.with_explicit_padding

    def forward(self, x: Tensor, activate: bool = True, norm: bool = True) -> Tensor:
        """Runs the convolution, the norm and the activation."""
        if self._is_plain and activate and norm and self.efficient_conv_bn_eval_forward is None:
            # mmcv's loop over these takes as long as a small convolution.
            x = self.conv(x)
            if self.with_norm:
                x = self.norm(x)
            return self.activate(x) if self.with_activation else x
        return super().forward(x, activate, norm)

    def init_weights(self) -> None:
        """Changes nothing."""
