"""Mix Transformer, the encoder of SegFormer (arXiv:2105.15203, section 3.1): four maps of an image.

A stage embeds overlapping patches by a strided convolution and lets the pixels attend to a copy of
the map that is reduced ``sr_ratio`` times a side. There is no positional encoding: the 3x3
depth-wise convolution between the two layers of each block's MLP tells the pixels where they are,
so that any size of image will do.

Legend, for the published strides (4, 2, 2, 2):

    x         (N, in_channels, H, W)
    tokens    (N, h * w, C), a map as its pixels; stage i has C = embed_dims * num_heads[i]
    maps      (N, C, H/4, W/4), (.., H/8, W/8), (.., H/16, W/16), (.., H/32, W/32)

Attribute names and their order are those of published checkpoints.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import Tensor, nn

from segkit.compat import CountsAsModule
from segkit.errors import UserError

from ..layers import (
    Config,
    build_activation,
    build_norm,
    constant_init,
    is_open,
    kaiming_init,
)
from .initial_weights import named_once, start

Size = Sequence[int]


def as_map(tokens: Tensor, size: Size) -> Tensor:
    """(N, h * w, C) -> (N, C, h, w), channels last in memory."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *size)


def as_tokens(x: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h * w, C)."""
    return x.flatten(2).transpose(1, 2)


class DropPath(nn.Module):
    """Stochastic depth (arXiv:1603.09382): in training a branch is left out for some pictures.

    Zero with probability ``rate`` for each picture (N, ...), else the branch over 1 - rate.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3f}'


class PatchEmbed(nn.Module):
    """A strided convolution whose patches overlap, then a norm."""

    def __init__(
        self, in_channels: int, channels: int, size: int, stride: int, norm_cfg: Config
    ) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels, channels, size, stride, size // 2)
        self.norm = build_norm(norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> tuple[Tensor, Size]:
        """Tokens (N, h * w, channels) and (h, w)."""
        x = self.projection(x)
        return self.norm(as_tokens(x)), x.shape[2:]


class Attention(nn.Module):
    """Scaled dot-product attention of several heads, named as torch's MultiheadAttention."""

    def __init__(self, channels: int, num_heads: int, bias: bool, drop: float) -> None:
        super().__init__()
        self.num_heads, self.drop = num_heads, drop
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels)) if bias else None
        self.out_proj = nn.Linear(channels, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.in_proj_weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        """Of tokens x (N, L, C) to others (N, M, C): (N, L, C)."""
        channels = x.shape[2]
        weights = self.in_proj_weight.split([channels, 2 * channels])
        bias = self.in_proj_bias
        biases = (None, None) if bias is None else bias.split([channels, 2 * channels])
        query = F.linear(x, weights[0], biases[0])
        key, value = F.linear(others, weights[1], biases[1]).chunk(2, dim=2)
        query, key, value = (
            t.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for t in (query, key, value)
        )
        drop = self.drop if self.training else 0.0
        context = F.scaled_dot_product_attention(query, key, value, dropout_p=drop)
        return self.out_proj(context.transpose(1, 2).flatten(2))


class ReducedAttention(nn.Module):
    """Attention to a map of fewer pixels, by a convolution over cells of ``sr_ratio`` a side."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        sr_ratio: int,
        bias: bool,
        drop: float,
        norm_cfg: Config,
    ) -> None:
        super().__init__()
        self.attn = Attention(channels, num_heads, bias, drop)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(channels, channels, sr_ratio, sr_ratio)
            self.norm = build_norm(norm_cfg, channels)[1]

    def forward(self, x: Tensor, size: Size) -> Tensor:
        others = x
        if self.sr_ratio > 1:
            whole = as_map(x, size)
            if not is_open(whole) and min(size) < self.sr_ratio:
                raise UserError(
                    f'MixVisionTransformer: a map of {size[0]}x{size[1]} pixels cannot be reduced '
                    f'{self.sr_ratio} times a side; feed it larger images (32x32 at least with the '
                    'published sr_ratios).'
                )
            others = self.norm(as_tokens(self.sr(whole)))
        return self.attn(x, others)


class MixFFN(nn.Module):
    """Two 1x1 convolutions with a 3x3 depth-wise one between them."""

    def __init__(self, channels: int, hidden: int, drop: float, act_cfg: Config) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            build_activation(act_cfg),
            nn.Dropout(drop),
            nn.Conv2d(hidden, channels, 1),
            nn.Dropout(drop),
        )

    def forward(self, x: Tensor, size: Size) -> Tensor:
        return as_tokens(self.layers(as_map(x, size)))


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to what came in."""

    def __init__(
        self, attn: ReducedAttention, ffn: MixFFN, drop: float, drop_path: float, norm_cfg: Config
    ) -> None:
        super().__init__()
        channels = attn.attn.out_proj.out_features
        self.norm1, self.attn = build_norm(norm_cfg, channels)[1], attn
        self.norm2, self.ffn = build_norm(norm_cfg, channels)[1], ffn
        self.drop, self.drop_path = nn.Dropout(drop), DropPath(drop_path)

    def forward(self, x: Tensor, size: Size) -> Tensor:
        x = x + self.drop_path(self.drop(self.attn(self.norm1(x), size)))
        return x + self.drop_path(self.ffn(self.norm2(x), size))


class MixVisionTransformer(CountsAsModule, nn.Module):
    """Mix Transformer; the defaults are those of b0 but for ``embed_dims`` and what depends on it.

    Args:
        embed_dims: channels of one attention head; stage i has ``embed_dims * num_heads[i]``.
        num_layers: blocks of each stage: (2, 2, 2, 2) for b0 and b1, (3, 4, 6, 3) for b2,
            (3, 4, 18, 3) for b3, (3, 8, 27, 3) for b4, (3, 6, 40, 3) for b5.
        sr_ratios: how many times a side the map attended to is reduced in each stage.
        drop_rate, attn_drop_rate: dropout of the branches, and of the attention itself.
        drop_path_rate: stochastic depth of the last block, rising from 0 at the first.
        with_cp: recompute block activations in the backward pass (less memory, more time).
        pretrained: where `init_weights` loads weights from (a path, a URL); the same as
            ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dims: int = 64,
        num_stages: int = 4,
        num_layers: Sequence[int] = (3, 4, 6, 3),
        num_heads: Sequence[int] = (1, 2, 4, 8),
        patch_sizes: Sequence[int] = (7, 3, 3, 3),
        strides: Sequence[int] = (4, 2, 2, 2),
        sr_ratios: Sequence[int] = (8, 4, 2, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        mlp_ratio: float = 4,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        act_cfg: Config = {'type': 'GELU'},  # noqa: B006, read only
        norm_cfg: Config = {'type': 'LN', 'eps': 1e-6},  # noqa: B006, read only
        with_cp: bool = False,
        pretrained: str | None = None,
        init_cfg: Config | Sequence[Config] | None = None,
    ) -> None:
        super().__init__()
        self.out_indices, self.with_cp = tuple(out_indices), with_cp
        self.pretrained = pretrained
        self.init_cfg = named_once('MixVisionTransformer', pretrained, init_cfg)
        self._check(num_stages, (num_layers, num_heads, patch_sizes, strides, sr_ratios))
        rates = torch.linspace(0, drop_path_rate, sum(num_layers), device='cpu').tolist()
        self.layers, attention = nn.ModuleList(), (qkv_bias, attn_drop_rate, norm_cfg)
        for i in range(num_stages):
            channels = embed_dims * num_heads[i]
            embed = PatchEmbed(in_channels, channels, patch_sizes[i], strides[i], norm_cfg)
            blocks = [
                Block(
                    ReducedAttention(channels, num_heads[i], sr_ratios[i], *attention),
                    MixFFN(channels, int(mlp_ratio * channels), drop_rate, act_cfg),
                    drop_rate, rates.pop(0), norm_cfg,
                )
                for _ in range(num_layers[i])
            ]  # fmt: skip
            norm = build_norm(norm_cfg, channels)[1]
            self.layers.append(nn.ModuleList([embed, nn.ModuleList(blocks), norm]))
            in_channels = channels

    def _check(self, count: int, given: Sequence[Sequence[int]]) -> None:
        if any(len(values) != count for values in given):
            raise UserError(
                'MixVisionTransformer: num_layers, num_heads, patch_sizes, strides and sr_ratios '
                f'need one value for each of the num_stages={count} stages, got '
                f'{", ".join(str(tuple(values)) for values in given)}.'
            )
        if not self.out_indices or max(self.out_indices) >= count:
            raise UserError(
                f'MixVisionTransformer: out_indices {self.out_indices} must name stages 0 to '
                f'{count - 1}.'
            )

    def init_weights(self) -> None:
        """Pretrained weights if any were named, else as `init_cfg` says, else drawn."""
        start(self, self._draw_weights)

    def _draw_weights(self) -> None:
        """Linear layers normal with std 0.02, convolutions He over the fan out of each group."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                kaiming_init(module)
                with torch.no_grad():
                    module.weight.mul_(module.groups**0.5)
            elif isinstance(module, nn.LayerNorm):
                constant_init(module, 1)
            elif isinstance(module, Attention):
                module.reset_parameters()

    def _run(self, block: nn.Module, x: Tensor, size: Size) -> Tensor:
        if self.with_cp and x.requires_grad:
            return torch.utils.checkpoint.checkpoint(block, x, size, use_reentrant=False)
        return block(x, size)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, in_channels, H, W) -> the maps of `out_indices`; see the legend."""
        outs = []
        for i, stage in enumerate(self.layers):
            parts: Any = stage
            embed, blocks, norm = parts
            tokens, size = embed(x)
            for block in blocks:
                tokens = self._run(block, tokens, size)
            x = as_map(norm(tokens), size).contiguous()
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)
