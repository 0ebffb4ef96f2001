"""The head of DeepLabV3+ (arXiv:1802.02611, section 3.1): ASPP, then details of a finer map.

Dilated convolutions are depth-wise and then point-wise; the joined branches are resized to a finer
map of few channels, concatenated with it and refined.

Legend: x (N, in_channels, h, w); the finer map (N, c1_in_channels, h1, w1).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segkit.models.layers import ConvModule, resize_to
from segkit.old_names import serve

from .aspp_head import ASPPHead


class SeparableConv(nn.Module):
    """A depth-wise 3x3 convolution, then a point-wise one; each with norm and activation."""

    def __init__(self, in_channels: int, out_channels: int, rate: int = 1, **cfgs: Any) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(
            in_channels, in_channels, 3, padding=rate, dilation=rate, groups=in_channels, **cfgs
        )
        self.pointwise_conv = ConvModule(in_channels, out_channels, 1, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))


class DepthwiseSeparableASPPHead(ASPPHead):
    """ASPP of separable convolutions, and a decoder over a finer map.

    Args:
        c1_in_channels: Channels of the finer map; 0 leaves it out.
        c1_channels: Channels it is reduced to; 48 as published.
        c1_index: Which of the backbone's maps it is, as ``in_index``.
    """

    def __init__(
        self,
        c1_in_channels: int = 256,
        c1_channels: int = 48,
        c1_index: int | str = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.c1_index = c1_index
        self.c1_bottleneck = (
            self._conv(c1_in_channels, c1_channels, 1) if c1_in_channels > 0 else None
        )
        joined = self.channels + (c1_channels if c1_in_channels > 0 else 0)
        self.sep_bottleneck = nn.Sequential(
            self._separable(joined, self.channels), self._separable(self.channels, self.channels)
        )

    def _separable(self, in_channels: int, out_channels: int, rate: int = 1) -> SeparableConv:
        cfgs = {'norm_cfg': self.norm_cfg, 'act_cfg': self.act_cfg}
        return SeparableConv(in_channels, out_channels, rate, **cfgs)

    def _branch(self, rate: int) -> nn.Module:
        if rate == 1:
            return super()._branch(rate)
        return self._separable(self.in_channels, self.channels, rate)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, at the size of the finer map if there is one."""
        x = super()._forward_feature(inputs)
        if self.c1_bottleneck is not None:
            detail = self.c1_bottleneck(self._chosen(inputs, [self.c1_index], 'c1_index')[0])
            x = torch.cat([resize_to(x, detail.shape[2:], self.align_corners), detail], dim=1)
        return self.sep_bottleneck(x)


serve(__name__)
