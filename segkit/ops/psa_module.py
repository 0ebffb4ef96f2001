"""One direction of PSANet's attention as a layer of its own, for any network."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.ops.psa.window import parse_mask_size, parse_psa_type
from segkit.ops.psa_attention import psa_attention


class PointwiseSpatialAttention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): what every pixel collects from, or is sent by, the others.

    A pixel predicts its attention from its own feature by two 1x1 convolutions (PSANet, Zhao et
    al., ECCV 2018, section 3.2); the second, with an output for each offset of the window, is never
    evaluated in full (``psa_attention``).

    Args:
        channels: C.
        mask_size: window (Mh, Mw) a pixel reaches; 2H - 1 and 2W - 1 reach all of the map.
        psa_type: 'collect' or 'distribute'.
        softmax: False aggregates with the raw logits.
    """

    def __init__(
        self,
        channels: int,
        mask_size: int | Sequence[int],
        psa_type: str = 'collect',
        softmax: bool = True,
    ) -> None:
        super().__init__()
        self.mask_size = parse_mask_size(mask_size)
        self.psa_type, self.softmax = parse_psa_type(psa_type), softmax
        self.feature = nn.Conv2d(channels, channels, 1)
        self.offsets = nn.Conv2d(channels, self.mask_size[0] * self.mask_size[1], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        feature = F.relu(self.feature(x))
        return psa_attention(
            x, feature, self.offsets.weight, self.psa_type, self.mask_size, softmax=self.softmax
        )

    def extra_repr(self) -> str:
        return f'psa_type={self.psa_type!r}, mask_size={self.mask_size}'
