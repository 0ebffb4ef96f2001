"""UPerNet's head (arXiv:1807.10221, section 3): pyramid pooling below a feature pyramid.

The coarsest map is pooled as in PSPNet; from there each map is added, resized, to the next finer
one, and the sums are smoothed, resized to the finest and joined by a 3x3 convolution. Both joins
run over upsampled maps and build no concatenation (`join_upsampled`).

Legend: maps (N, Ci, hi, wi), the finest first; lateral maps (N, channels, hi, wi).
"""

from collections.abc import Sequence

from torch import Tensor, nn

from segkit.models.layers import join_upsampled, resize_to

from .psp_head import PyramidPooling
from .several_maps import SeveralMapsHead


class UPerHead(SeveralMapsHead):
    """Unified perceptual parsing.

    Args:
        pool_scales: Cells per side of each pooled map of the coarsest level.
    """

    def __init__(self, pool_scales: Sequence[int] = (1, 2, 3, 6), **kwargs: object) -> None:
        super().__init__(**kwargs)
        *finer, coarsest = self.widths
        width = self.channels
        self.psp_modules = PyramidPooling(pool_scales, lambda: self._conv(coarsest, width, 1))
        self.bottleneck = self._conv(coarsest + len(pool_scales) * width, width, 3, padding=1)
        self.lateral_convs = nn.ModuleList(self._conv(c, width, 1, inplace=False) for c in finer)
        self.fpn_convs = nn.ModuleList(
            self._conv(width, width, 3, padding=1, inplace=False) for _ in finer
        )
        self.fpn_bottleneck = self._conv(len(self.widths) * width, width, 3, padding=1)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w) of the finest map."""
        *finer, x = self._maps(inputs)
        top = join_upsampled(self.bottleneck, x, self.psp_modules(x), self.align_corners)
        levels = [conv(part) for conv, part in zip(self.lateral_convs, finer, strict=True)]
        above = top
        for i in reversed(range(len(levels))):
            levels[i] = levels[i] + resize_to(above, levels[i].shape[2:], self.align_corners)
            above = levels[i]
        finest, *lows = [*(conv(part) for conv, part in zip(self.fpn_convs, levels)), top]
        return join_upsampled(self.fpn_bottleneck, finest, lows, self.align_corners)
