"""Point-wise spatial attention head (PSANet, ECCV 2018, section 3).

Each pixel predicts an attention over the positions around it. In *collect* it gathers the features
of the others by that attention, in *distribute* it sends its own feature out by it; both run on a
map shrunk by ``shrink_factor``, and what they bring is joined with the input by a 3x3 convolution.
How a branch is evaluated without the over-complete map (Mh * Mw channels): ``segkit.ops``.

Legend: x (N, in_channels, H, W); shrunk map (N, channels, h, w); L = h * w; mask (Mh, Mw);
own = the pixel that predicts, other = the pixel it predicts for.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.layers import (
    ConvModule,
    is_open,
    is_plain,
    is_untouched,
    join_upsampled,
    resize_to,
)
from segkit.ops import psa_attention, psa_mask

from .decode_head import BaseDecodeHead

DIRECTIONS = {
    'collect': ('collect',),
    'distribute': ('distribute',),
    'bi-direction': ('collect', 'distribute'),
}


class _Shrink(NamedTuple):
    """Size of the shrunk map and how it, and the way back, is resized."""

    size: tuple[int, int]
    align_corners: bool | int


def _pointwise(norm: nn.Module | None) -> bool:
    """Whether a norm treats each pixel alone: none, or batch norm with fixed statistics."""
    if isinstance(norm, nn.modules.batchnorm._BatchNorm):
        return not norm.training and norm.running_mean is not None
    return norm is None or isinstance(norm, nn.Identity)


class PSAHead(BaseDecodeHead):
    """Point-wise spatial attention.

    Args:
        mask_size: Window (Mh, Mw) a pixel attends to, on the shrunk map; 2h - 1 reaches all of it.
        psa_type: 'collect', 'distribute', or 'bi-direction' for both, each with its own weights.
        compact: Without relative positions: channel j of the attention is the logit for pixel j,
            so Mh * Mw must be the h * w of every map the head is fed.
        shrink_factor: Of the map the attention runs on.
        normalization_factor: The output is divided by it; None stands for Mh * Mw.
        psa_softmax: Softmax over all L sources, those outside the mask counting exp(0).
        proj_padding: Of the 1x1 projection after the attention. 1 lets the map grow by a ring, as
            the published weights expect; 0 is the authors' own release.
        save_attention: Keep the attention for the backward pass (faster training, N * L * L
            numbers a branch) instead of recomputing it.
    """

    def __init__(
        self,
        mask_size: Sequence[int],
        psa_type: str = 'bi-direction',
        compact: bool = False,
        shrink_factor: int = 2,
        normalization_factor: float | None = 1.0,
        psa_softmax: bool = True,
        proj_padding: int = 1,
        save_attention: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if psa_type not in DIRECTIONS:
            raise UserError(f'PSAHead: psa_type={psa_type!r} is none of {", ".join(DIRECTIONS)}.')
        self.psa_type, self.compact, self.shrink_factor = psa_type, compact, shrink_factor
        self.mask_size = tuple(mask_size)
        if normalization_factor is None:
            normalization_factor = self.mask_size[0] * self.mask_size[1]
        self.normalization_factor = normalization_factor
        self.psa_softmax, self.save_attention = psa_softmax, save_attention
        self.reduce, self.attention = self._branch_layers()
        if psa_type == 'bi-direction':
            self.reduce_p, self.attention_p = self._branch_layers()
        width = self.channels * len(DIRECTIONS[psa_type])
        self.proj = self._conv(width, self.in_channels, 1, padding=proj_padding)
        self.bottleneck = self._conv(2 * self.in_channels, self.channels, 3, padding=1)

    def _branch_layers(self) -> tuple[ConvModule, nn.Sequential]:
        """Channel reduction and attention predictor; the latter's last weight is the mask's."""
        offsets = self.mask_size[0] * self.mask_size[1]
        attention = nn.Sequential(
            self._conv(self.channels, self.channels, 1),
            nn.Conv2d(self.channels, offsets, kernel_size=1, bias=False),
        )
        return self._conv(self.in_channels, self.channels, 1), attention

    def _shrink_to(self, x: Tensor) -> _Shrink:
        """The shrunk size.

        align_corners only if *both* sides leave a remainder, else plain division and False,
        whatever the head's own flag: the published weights were trained with this rule, and with
        the flag it chose for the resize back as well.
        """
        s, (h, w) = self.shrink_factor, x.shape[2:]
        if s == 1:
            return _Shrink((h, w), self.align_corners)
        if is_open(x):  # the same rule as arithmetic: 1 if both leave a remainder, else 0
            aligned = ((h % s + s - 1) // s) * ((w % s + s - 1) // s)
            return _Shrink((h // s + aligned, w // s + aligned), aligned)
        if h % s and w % s:
            return _Shrink(((h - 1) // s + 1, (w - 1) // s + 1), True)
        return _Shrink((h // s, w // s), False)

    def _reduce(self, reduce: ConvModule, x: Tensor, to: _Shrink) -> Tensor:
        """``resize(reduce(x))``: (N, in_channels, H, W) -> (N, channels, h, w)."""
        s = self.shrink_factor
        if s == 1:
            return reduce(x)
        picks = not is_open(x) and to.align_corners
        picks = picks and all(a - 1 == s * (b - 1) for a, b in zip(x.shape[2:], to.size))
        if picks and _pointwise(reduce.norm):
            # The resize picks every s-th pixel, so no other needs to be reduced.
            return reduce(x[:, :, ::s, ::s])
        return resize_to(reduce(x), to.size, to.align_corners)

    def _attend(self, x: Tensor, attention: nn.Sequential, direction: str) -> Tensor:
        """One branch on the shrunk map: (N, channels, h, w) -> the same shape.

        Without the over-complete map, unless somebody replaced or watches the layer it comes of.
        """
        last: Any = attention[-1]
        scale = 1.0 / self.normalization_factor
        as_built = len(attention) == 2 and is_untouched(attention, nn.Sequential)
        if self.compact or not (as_built and is_plain(last)):
            return self._of_logits(x, attention(x), direction) * scale
        return psa_attention(
            x,
            attention[0](x),
            last.weight,
            direction,
            self.mask_size,
            softmax=self.psa_softmax,
            scale=scale,
            save_attention=self.save_attention,
        )

    def _of_logits(self, x: Tensor, logits: Tensor, direction: str) -> Tensor:
        """Attention by logits (N, Mh * Mw, h, w) that are there: a window's, or with ``compact``
        those of positions (N, other, own as h x w)."""
        if self.compact:
            pairs = self._compact(logits, direction)
        else:
            pairs = psa_mask(logits, direction, self.mask_size).flatten(2)
        if self.psa_softmax:
            pairs = pairs.softmax(dim=1)
        return (x.flatten(2) @ pairs.to(x.dtype)).reshape(x.shape)

    def _compact(self, logits: Tensor, direction: str) -> Tensor:
        """(N, L, L) of them, as they are multiplied from the right.

        It is *distribute* that is transposed, alone or beside collect, as in the authors' code.
        """
        size = tuple(logits.shape[2:])
        if logits.shape[1] != size[0] * size[1]:
            raise UserError(
                f'PSAHead: compact=True needs mask_size to be the shrunk map, {size} here, '
                f'but mask_size={self.mask_size}. Set mask_size={size}, or compact=False.'
            )
        pairs = logits.flatten(2)
        return pairs.transpose(1, 2) if direction == 'distribute' else pairs

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, H, W)."""
        x = self._transform_inputs(inputs)
        to = self._shrink_to(x)
        layers = [(self.reduce, self.attention)]
        if self.psa_type == 'bi-direction':
            layers.append((self.reduce_p, self.attention_p))
        context = [
            self._attend(self._reduce(reduce, x, to), attention, direction)
            for direction, (reduce, attention) in zip(DIRECTIONS[self.psa_type], layers)
        ]
        out = self.proj(torch.cat(context, dim=1))
        return join_upsampled(self.bottleneck, x, [out], to.align_corners)
