"""Pyramid pooling head (arXiv:1612.01105, section 3.2).

The map is averaged to 1x1, 2x2, 3x3 and 6x6 cells, mixed by a 1x1 convolution each, resized back,
concatenated with the map and joined by a 3x3 convolution ("bottleneck"). That convolution of an
upsampled map commutes with the upsampling, so the concatenation is never built
(``segkit.ops.conv_cat_upsampled``): the same parameters and results, about half the time.

Legend: x (N, in_channels, h, w); pooled map i (N, channels, s_i, s_i).
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.layers import CellPool, join_upsampled

from .decode_head import BaseDecodeHead


class PSPHead(BaseDecodeHead):
    """Pyramid pooling.

    Args:
        pool_scales: Cells per side of each pooled map.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_scales = tuple(pool_scales)
        self.psp_modules = nn.ModuleList(
            nn.Sequential(CellPool(s), self._conv(self.in_channels, self.channels, 1))
            for s in self.pool_scales
        )
        joined = self.in_channels + len(self.pool_scales) * self.channels
        self.bottleneck = self._conv(joined, self.channels, 3, padding=1)

    def _check_batch(self, x: Tensor) -> None:
        """Batch norm over a 1x1 cell has no variance to go by when there is one image."""
        pool: Any = self.psp_modules[0]
        norm = pool[1].norm
        alone = isinstance(norm, nn.BatchNorm2d) and norm.training and x.shape[0] == 1
        if alone and 1 in self.pool_scales:
            raise UserError(
                'PSPHead: batch norm over the 1x1 pooled map cannot train on one image. Use a '
                "batch_size of at least 2, or norm_cfg=dict(type='GN', num_groups=32)."
            )

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w)."""
        x = self._transform_inputs(inputs)
        self._check_batch(x)
        pooled = [module(x) for module in self.psp_modules]
        return join_upsampled(self.bottleneck, x, pooled, self.align_corners)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Logits (N, K, h, w) of the chosen map (N, in_channels, h, w)."""
        return self.cls_seg(self._forward_feature(inputs))
