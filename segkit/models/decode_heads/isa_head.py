"""Interlaced sparse self-attention head (arXiv:1907.12273, section 3.2).

Attention over all pixels is split in two sparse steps. The map is cut in blocks of ``down_factor``
pixels; first every pixel attends to those at the same place of the other blocks (long range), then
to those of its own block (short range). Together every pixel reaches every other.

Legend: the padded map is (N, C, Qh * Ph, Qw * Pw) with P = down_factor pixels a block and Q blocks
a side; tokens of one attention (G, C, L) with G groups of L pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.models.layers import ConvModule

from .decode_head import BaseDecodeHead


class SelfAttentionBlock(nn.Module):
    """Scaled dot-product attention among the pixels of each map, then a 1x1 projection.

    Args:
        channels: Of queries and keys; they are scaled by channels ** -0.5. Values keep
            ``in_channels``.
    """

    def __init__(self, in_channels: int, channels: int, **cfgs: Any) -> None:
        super().__init__()

        def two_convs() -> nn.Sequential:
            widths = (in_channels, channels), (channels, channels)
            return nn.Sequential(*[ConvModule(i, o, 1, **cfgs) for i, o in widths])

        self.key_project = two_convs()
        self.query_project = two_convs()
        self.value_project = nn.Conv2d(in_channels, in_channels, 1)
        self.output_project = ConvModule(in_channels, in_channels, 1, **cfgs)

    def forward(self, x: Tensor) -> Tensor:
        """(G, C, h, w) -> (G, C, h, w); the G maps do not see each other."""
        projections = self.query_project, self.key_project, self.value_project
        # (G, 1, h * w, C): one head, as ONNX has attention with a head dimension only.
        query, key, value = (p(x).flatten(2).transpose(1, 2)[:, None] for p in projections)
        context = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return self.output_project(context.transpose(1, 2).reshape(x.shape))


class ISAHead(BaseDecodeHead):
    """Interlaced sparse self-attention.

    Args:
        isa_channels: Channels of queries and keys.
        down_factor: Pixels (Ph, Pw) of a block.
    """

    def __init__(
        self, isa_channels: int, down_factor: Sequence[int] = (8, 8), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.down_factor = tuple(down_factor)
        cfgs = {'conv_cfg': self.conv_cfg, 'norm_cfg': self.norm_cfg, 'act_cfg': self.act_cfg}
        self.in_conv = self._conv(self.in_channels, self.channels, 3, padding=1)
        self.global_relation = SelfAttentionBlock(self.channels, isa_channels, **cfgs)
        self.local_relation = SelfAttentionBlock(self.channels, isa_channels, **cfgs)
        self.out_conv = self._conv(2 * self.channels, self.channels, 1)

    def _attend(self, x: Tensor) -> Tensor:
        """Across blocks, then within: (N, C, Qh * Ph, Qw * Pw) -> the same shape."""
        n, c, height, width = x.shape
        ph, pw = self.down_factor
        qh, qw = height // ph, width // pw
        x = x.reshape(n, c, qh, ph, qw, pw).permute(0, 3, 5, 1, 2, 4)
        x = self.global_relation(x.reshape(-1, c, qh, qw))  # (N * Ph * Pw, C, Qh, Qw)
        x = x.reshape(n, ph, pw, c, qh, qw).permute(0, 4, 5, 3, 1, 2)
        x = self.local_relation(x.reshape(-1, c, ph, pw))  # (N * Qh * Qw, C, Ph, Pw)
        x = x.reshape(n, qh, qw, c, ph, pw).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(n, c, height, width)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w)."""
        x = self.in_conv(self._transform_inputs(inputs))
        h, w = x.shape[2:]
        more_h, more_w = (-s % p for s, p in zip((h, w), self.down_factor))
        # Half on each side, the odd row or column after: the published weights expect it.
        top, left = more_h // 2, more_w // 2
        padded = F.pad(x, (left, more_w - left, top, more_h - top))
        context = self._attend(padded)[:, :, top : top + h, left : left + w]
        return self.out_conv(torch.cat([context, x], dim=1))
