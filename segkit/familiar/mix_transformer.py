"""Blocks of the Mix Transformer under mmsegmentation's names, with its arguments.

They add what came in themselves. Legend: x (N, L, C) tokens of a map of ``hw_shape`` = (H, W).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from segkit.errors import UserError
from segkit.models.backbones.mix_transformer import Block, DropPath, ReducedAttention
from segkit.models.backbones.mix_transformer import MixFFN as TwoConvolutions
from segkit.models.layers import Config

_GELU: Config = {'type': 'GELU'}
_LN: Config = {'type': 'LN'}
Size = Sequence[int]


def _dropout(cfg: Config | None) -> nn.Module:
    """``dict(type='DropPath', drop_prob=...)`` or of type 'Dropout'; None is the identity."""
    kinds: dict[object, type[nn.Module]] = {'DropPath': DropPath, 'Dropout': nn.Dropout}
    if cfg is None:
        return nn.Identity()
    if cfg.get('type') not in kinds:
        raise UserError(f"dropout_layer={cfg!r}: its type is 'DropPath' or 'Dropout'.")
    return kinds[cfg['type']](cfg.get('drop_prob', 0.1 if cfg['type'] == 'DropPath' else 0.5))


def _refuse_length_first(batch_first: bool) -> None:
    if not batch_first:
        raise UserError('batch_first=False: tokens are (N, L, C) here; leave batch_first out.')


class MixFFN(TwoConvolutions):
    """``identity`` (x itself by default) plus the convolutions of ``x``."""

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        act_cfg: Config = _GELU,
        ffn_drop: float = 0.0,
        dropout_layer: Config | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(embed_dims, feedforward_channels, ffn_drop, act_cfg)
        self.dropout_layer = _dropout(dropout_layer)
        self.init_cfg = init_cfg

    def forward(self, x: Tensor, hw_shape: Size, identity: Tensor | None = None) -> Tensor:
        return (x if identity is None else identity) + self.dropout_layer(
            super().forward(x, hw_shape)
        )


class EfficientMultiheadAttention(ReducedAttention):
    """``identity`` (x itself by default) plus the attention of ``x`` to its reduced map."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        dropout_layer: Config | None = None,
        init_cfg: Config | None = None,
        batch_first: bool = True,
        qkv_bias: bool = False,
        norm_cfg: Config = _LN,
        sr_ratio: int = 1,
    ) -> None:
        _refuse_length_first(batch_first)
        super().__init__(embed_dims, num_heads, sr_ratio, qkv_bias, attn_drop, norm_cfg)
        self.proj_drop, self.dropout_layer = nn.Dropout(proj_drop), _dropout(dropout_layer)
        self.init_cfg = init_cfg

    def forward(self, x: Tensor, hw_shape: Size, identity: Tensor | None = None) -> Tensor:
        return (x if identity is None else identity) + self.dropout_layer(
            self.proj_drop(super().forward(x, hw_shape))
        )


class TransformerEncoderLayer(Block):
    """A block of the backbone; ``with_cp`` computes it again in the backward pass."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        qkv_bias: bool = True,
        act_cfg: Config = _GELU,
        norm_cfg: Config = _LN,
        batch_first: bool = True,
        sr_ratio: int = 1,
        with_cp: bool = False,
    ) -> None:
        _refuse_length_first(batch_first)
        attn = ReducedAttention(embed_dims, num_heads, sr_ratio, qkv_bias, attn_drop_rate, norm_cfg)
        ffn = TwoConvolutions(embed_dims, feedforward_channels, drop_rate, act_cfg)
        super().__init__(attn, ffn, drop_rate, drop_path_rate, norm_cfg)
        self.with_cp = with_cp

    def forward(self, x: Tensor, hw_shape: Size) -> Tensor:
        if self.with_cp and x.requires_grad:
            return checkpoint(super().forward, x, hw_shape, use_reentrant=False)
        return super().forward(x, hw_shape)
