"""Pyramid pooling head (arXiv:1612.01105, section 3.2).

The map is averaged to 1x1, 2x2, 3x3 and 6x6 cells, mixed by a 1x1 convolution each, resized back,
concatenated with the map and joined by a 3x3 convolution ("bottleneck"). That convolution of an
upsampled map commutes with the upsampling, so the concatenation is never built
(``segkit.ops.conv_cat_upsampled``): the same parameters and results, about half the time.

Legend: x (N, in_channels, h, w); pooled map i (N, channels, s_i, s_i).
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from segkit.models.layers import CellPool, ConvModule, join_upsampled, refuse_one_picture
from segkit.old_names import serve

from .decode_head import BaseDecodeHead


class PyramidPooling(nn.ModuleList):
    """One pooling and one 1x1 convolution for each scale, named by their position.

    Args:
        pool_scales: cells per side of each pooled map.
        mixer: makes the convolution, batch norm and activation of one scale.
    """

    def __init__(self, pool_scales: Sequence[int], mixer: Callable[[], ConvModule]) -> None:
        super().__init__(nn.Sequential(CellPool(scale), mixer()) for scale in pool_scales)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The pooled and mixed maps, at their own sizes."""
        maps = []
        for branch in self:
            steps: Any = branch
            if steps[0].cells == 1:
                refuse_one_picture(steps[1], x)
            maps.append(steps(x))
        return maps


class PSPHead(BaseDecodeHead):
    """Pyramid pooling.

    Args:
        pool_scales: Cells per side of each pooled map.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_scales = tuple(pool_scales)
        self.psp_modules = PyramidPooling(
            self.pool_scales, lambda: self._conv(self.in_channels, self.channels, 1)
        )
        joined = self.in_channels + len(self.pool_scales) * self.channels
        self.bottleneck = self._conv(joined, self.channels, 3, padding=1)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w)."""
        x = self._transform_inputs(inputs)
        return join_upsampled(self.bottleneck, x, self.psp_modules(x), self.align_corners)


serve(__name__)
