"""The head of SegFormer (arXiv:2105.15203, section 3.2): 1x1 convolutions alone.

Each map goes through one to a common width, is resized to the first, the finest, and all are
concatenated and mixed by one more. Mixing commutes with resizing, so each map is mixed at its own
size and what is resized is added up: the concatenation is never built (`join_upsampled`).

Legend: maps (N, Ci, hi, wi), h and w those of the first.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.models.layers import join_upsampled, resize

from .several_maps import SeveralMapsHead


class SegformerHead(SeveralMapsHead):
    """An MLP over the pixels of several maps.

    Args:
        interpolate_mode: how maps are resized, 'bilinear' or any other of ``F.interpolate``.
    """

    def __init__(self, interpolate_mode: str = 'bilinear', **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.interpolate_mode = interpolate_mode
        self.convs = nn.ModuleList(self._conv(width, self.channels, 1) for width in self.widths)
        self.fusion_conv = self._conv(self.channels * len(self.convs), self.channels, 1)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w)."""
        maps = self._maps(inputs)
        x, *lows = (conv(part) for conv, part in zip(self.convs, maps, strict=True))
        if self.interpolate_mode == 'bilinear':
            return join_upsampled(self.fusion_conv, x, lows, self.align_corners)
        size = (x.shape[2], x.shape[3])
        aligned = self.align_corners if self.interpolate_mode == 'bicubic' else None
        lows = [resize(low, size, None, self.interpolate_mode, aligned) for low in lows]
        return self.fusion_conv(torch.cat([x, *lows], dim=1))
