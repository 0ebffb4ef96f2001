"""Fully convolutional head (arXiv:1411.4038): a few convolutions, joined with their input.

The baseline without context, and with one convolution the auxiliary head of the other networks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.errors import UserError

from .decode_head import BaseDecodeHead


class FCNHead(BaseDecodeHead):
    """Convolutions, optionally concatenated with their input, then the classifier.

    Args:
        num_convs: 0 passes the input on (``in_channels`` must then equal ``channels``).
        kernel_size: Of these convolutions and of the one after the concatenation.
        concat_input: Join the input with the convolutions' output in one more convolution.
        dilation: Of the convolutions.
    """

    def __init__(
        self,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        dilation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_convs < 0 or dilation < 1:
            raise UserError(f'FCNHead: {num_convs=} must be >= 0 and {dilation=} at least 1.')
        if num_convs == 0 and self.in_channels != self.channels:
            raise UserError(
                f'FCNHead: with num_convs=0 the input goes straight to the classifier, so '
                f'in_channels={self.in_channels} must equal channels={self.channels}.'
            )
        self.num_convs, self.kernel_size = num_convs, kernel_size
        self.concat_input = concat_input
        width = [self.in_channels] + [self.channels] * num_convs
        padding = kernel_size // 2 * dilation
        convs = [
            self._conv(i, o, kernel_size, padding=padding, dilation=dilation)
            for i, o in zip(width, width[1:])
        ]
        self.convs = nn.Sequential(*convs) if convs else nn.Identity()
        if concat_input:
            joined = self.in_channels + self.channels
            self.conv_cat = self._conv(joined, self.channels, kernel_size, padding=kernel_size // 2)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w)."""
        x = self._transform_inputs(inputs)
        feats = self.convs(x)
        return self.conv_cat(torch.cat([x, feats], dim=1)) if self.concat_input else feats
