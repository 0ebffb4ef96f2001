"""Atrous spatial pyramid pooling, the head of DeepLabV3 (arXiv:1706.05587, section 3.3).

Convolutions of several dilations look at the same map, and one value a channel at all of it; their
outputs are joined by a 3x3 convolution. What is pooled enters that at its size, a single pixel
(`join_upsampled`).

Legend: x (N, in_channels, h, w); branches (N, channels, h, w).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.models.layers import CellPool, join_upsampled, refuse_one_picture
from segkit.old_names import serve

from .decode_head import BaseDecodeHead


class ASPPHead(BaseDecodeHead):
    """Branches of several dilations.

    Args:
        dilations: One for each branch; a branch of dilation 1 is a 1x1 convolution. Published
            networks have (1, 12, 24, 36) at stride 8.
    """

    def __init__(self, dilations: Sequence[int] = (1, 6, 12, 18), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dilations = tuple(dilations)
        self.image_pool = nn.Sequential(CellPool(1), self._conv(self.in_channels, self.channels, 1))
        self.aspp_modules = nn.ModuleList(self._branch(rate) for rate in self.dilations)
        joined = (len(self.dilations) + 1) * self.channels
        self.bottleneck = self._conv(joined, self.channels, 3, padding=1)

    def _branch(self, rate: int) -> nn.Module:
        if rate == 1:
            return self._conv(self.in_channels, self.channels, 1)
        return self._conv(self.in_channels, self.channels, 3, dilation=rate, padding=rate)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The joined branches, (N, channels, h, w)."""
        x = self._transform_inputs(inputs)
        refuse_one_picture(self.image_pool[1], x)
        pooled = self.image_pool(x)
        branches = torch.cat([branch(x) for branch in self.aspp_modules], dim=1)
        return join_upsampled(
            self.bottleneck, branches, [pooled], self.align_corners, lows_first=True
        )


serve(__name__)
