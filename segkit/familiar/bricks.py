"""Layers and functions that networks written for mmsegmentation build on.

Legend: x (N, C, H, W) a map, (N, L, C) the same as tokens with L = H * W.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.backbones import TimmBackbone
from segkit.models.decode_heads.psp_head import PyramidPooling
from segkit.models.layers import Config, ConvModule, constant_init, resize, resize_to
from segkit.models.losses.reduction import weight_reduce_loss
from segkit.registry import MODELS

Configs = dict[str, Any]


class TIMMBackbone(TimmBackbone):
    """`TimmBackbone` under the older name and with its arguments; ``init_cfg`` is timm's to do."""

    def __init__(
        self,
        model_name: str,
        features_only: bool = True,
        pretrained: bool = True,
        checkpoint_path: str = '',
        in_channels: int = 3,
        init_cfg: Config | None = None,
        **kwargs: Any,
    ) -> None:
        if not features_only:
            raise UserError(
                f'TIMMBackbone({model_name!r}, features_only=False) gives no maps for a head; '
                'leave features_only out.'
            )
        if isinstance(kwargs.get('norm_layer'), str):  # of our registry, not of timm's
            name = kwargs['norm_layer']
            found = (MODELS.get(kind) for kind in (name, name.removesuffix('2d')))
            kwargs['norm_layer'] = next(filter(None, found), name)
        super().__init__(model_name, pretrained, checkpoint_path, in_channels, **kwargs)
        self.init_cfg = init_cfg


class Upsample(nn.Module):
    """`resize` as a layer: to ``size`` (H, W), or by ``scale_factor`` rounded down."""

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = 'nearest',
        align_corners: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H', W')."""
        factor, size = self.scale_factor, self.size
        if not size and factor is not None:
            down, across = factor if isinstance(factor, tuple) else (factor, factor)
            size = int(x.shape[-2] * down), int(x.shape[-1] * across)
        return resize(x, size, None, self.mode, self.align_corners)


class PPM(PyramidPooling):
    """PSPNet's pyramid of a map, each level back at its size."""

    def __init__(
        self,
        pool_scales: Sequence[int],
        in_channels: int,
        channels: int,
        conv_cfg: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
        align_corners: bool = False,
        **kwargs: Any,
    ) -> None:
        cfgs: Configs = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        super().__init__(
            pool_scales, lambda: ConvModule(in_channels, channels, 1, **cfgs, **kwargs)
        )
        self.pool_scales, self.align_corners = pool_scales, align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        """Maps (N, channels, h, w) of ``x`` (N, in_channels, h, w)."""
        return [resize_to(level, x.shape[2:], self.align_corners) for level in super().forward(x)]


class ASPPModule(nn.ModuleList):
    """Convolutions of several dilations side by side; one of dilation 1 is 1x1.

    Returns from ``forward`` a list of maps.
    """

    def __init__(
        self,
        dilations: Sequence[int],
        in_channels: int,
        channels: int,
        conv_cfg: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
    ) -> None:
        cfgs: Configs = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        super().__init__(
            ConvModule(
                in_channels,
                channels,
                1 if dilation == 1 else 3,
                padding=0 if dilation == 1 else dilation,
                dilation=dilation,
                **cfgs,
            )
            for dilation in dilations
        )
        self.dilations, self.in_channels, self.channels = dilations, in_channels, channels

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, in_channels, h, w) -> maps (N, channels, h, w)."""
        return [conv(x) for conv in self]


class SelfAttentionBlock(nn.Module):
    """Attention of one map's pixels to those of another, of which DANet's, ISANet's and OCRNet's
    blocks are special cases (Vaswani et al., arXiv:1706.03762).

    Args:
        key_in_channels, query_in_channels: of the two maps; values are made of the keys' map.
        channels, out_channels: of keys and queries, and of the result.
        share_key_query: one projection for both.
        query_downsample, key_downsample: modules after the projections, the second for values too.
        key_query_num_convs, value_out_num_convs: 1x1 convolutions in each projection.
        key_query_norm, value_out_norm: whether they have norm and activation.
        matmul_norm: divide the products by the root of ``channels``.
        with_out: project the result, starting from zero where that has no norm.
    """

    def __init__(
        self,
        key_in_channels: int,
        query_in_channels: int,
        channels: int,
        out_channels: int,
        share_key_query: bool,
        query_downsample: nn.Module | None,
        key_downsample: nn.Module | None,
        key_query_num_convs: int,
        value_out_num_convs: int,
        key_query_norm: bool,
        value_out_norm: bool,
        matmul_norm: bool,
        with_out: bool,
        conv_cfg: Config | None,
        norm_cfg: Config | None,
        act_cfg: Config | None,
    ) -> None:
        super().__init__()
        if share_key_query and key_in_channels != query_in_channels:
            raise UserError(
                f'SelfAttentionBlock: share_key_query needs maps of equal channels, not '
                f'{key_in_channels} and {query_in_channels}.'
            )
        self.channels, self.out_channels = channels, out_channels
        self.key_in_channels, self.query_in_channels = key_in_channels, query_in_channels
        self.share_key_query, self.matmul_norm = share_key_query, matmul_norm
        cfgs: Configs = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        keys = (channels, key_query_num_convs, key_query_norm)
        self.key_project = self.build_project(key_in_channels, *keys, **cfgs)
        self.query_project = (
            self.key_project
            if share_key_query
            else self.build_project(query_in_channels, *keys, **cfgs)
        )
        convs = (value_out_num_convs, value_out_norm)
        inner = channels if with_out else out_channels
        self.value_project = self.build_project(key_in_channels, inner, *convs, **cfgs)
        self.out_project = (
            self.build_project(channels, out_channels, *convs, **cfgs) if with_out else None
        )
        self.query_downsample, self.key_downsample = query_downsample, key_downsample
        self.init_weights()

    def init_weights(self) -> None:
        """A bare projection of the result starts from zero: the block as the identity around it."""
        if isinstance(self.out_project, nn.Conv2d):
            constant_init(self.out_project, 0)

    def build_project(
        self,
        in_channels: int,
        channels: int,
        num_convs: int,
        use_conv_module: bool,
        conv_cfg: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = None,
    ) -> nn.Module:
        """1x1 convolutions, one as it is, several in a Sequential."""
        cfgs: Configs = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        convs = [
            ConvModule(width, channels, 1, **cfgs)
            if use_conv_module
            else nn.Conv2d(width, channels, 1)
            for width in [in_channels] + [channels] * (num_convs - 1)
        ]
        return nn.Sequential(*convs) if num_convs > 1 else convs[0]

    def forward(self, query_feats: Tensor, key_feats: Tensor) -> Tensor:
        """Maps of queries and of keys -> (N, out_channels, H, W) of the query's (H, W)."""
        query = self.query_project(query_feats)
        if self.query_downsample is not None:
            query = self.query_downsample(query)
        key, value = self.key_project(key_feats), self.value_project(key_feats)
        if self.key_downsample is not None:
            key, value = self.key_downsample(key), self.key_downsample(value)
        scores = query.flatten(2).transpose(1, 2) @ key.flatten(2)  # (N, L, M)
        if self.matmul_norm:
            scores = scores * self.channels**-0.5
        context = scores.softmax(-1) @ value.flatten(2).transpose(1, 2)  # (N, L, C)
        context = context.transpose(1, 2).reshape(len(context), -1, *query_feats.shape[2:])
        return context if self.out_project is None else self.out_project(context)


def mask_cross_entropy(
    pred: Tensor,
    target: Tensor,
    label: Tensor,
    reduction: str = 'mean',
    avg_factor: float | None = None,
    class_weight: Tensor | None = None,
    ignore_index: None = None,
    **kwargs: object,
) -> Tensor:
    """Sigmoid cross-entropy of one mask an object: of ``pred`` (N, K, H, W) the channel ``label``
    (N,), against ``target`` (N, H, W). The mean, in shape (1,)."""
    if ignore_index is not None or reduction != 'mean' or avg_factor is not None:
        raise UserError("mask_cross_entropy gives the mean of all pixels: reduction='mean' alone.")
    mask = pred[torch.arange(len(pred), device=pred.device), label]
    loss = F.binary_cross_entropy_with_logits(
        mask, target.to(mask), weight=class_weight, reduction='none'
    )
    return weight_reduce_loss(loss)[None]


def make_divisible(
    value: float, divisor: int, min_value: int | None = None, min_ratio: float = 0.9
) -> int:
    """The multiple of ``divisor`` next to ``value``, at least ``min_value`` and, so that a network
    does not shrink by it, ``min_ratio * value`` (MobileNet)."""
    least = divisor if min_value is None else min_value
    nearest = max(least, int(value + divisor / 2) // divisor * divisor)
    return nearest if nearest >= min_ratio * value else nearest + divisor


def nlc_to_nchw(x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    """(N, H * W, C) -> (N, C, H, W)."""
    if x.dim() != 3 or x.shape[1] != hw_shape[0] * hw_shape[1]:
        raise UserError(f'{tuple(x.shape)} are not the tokens of a map of {tuple(hw_shape)}.')
    return x.transpose(1, 2).reshape(len(x), x.shape[2], *hw_shape)


def nchw_to_nlc(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H * W, C)."""
    if x.dim() != 4:
        raise UserError(f'{tuple(x.shape)} is no map (N, C, H, W).')
    return x.flatten(2).transpose(1, 2).contiguous()


def nlc2nchw2nlc(
    module: nn.Module,
    x: Tensor,
    hw_shape: tuple[int, int],
    contiguous: bool = False,
    **kwargs: object,
) -> Tensor:
    """``module`` of the tokens as a map, as tokens again."""
    maps = nlc_to_nchw(x, hw_shape)
    return nchw_to_nlc(module(maps.contiguous() if contiguous else maps, **kwargs))


def nchw2nlc2nchw(
    module: nn.Module, x: Tensor, contiguous: bool = False, **kwargs: object
) -> Tensor:
    """``module`` of the map as tokens, as a map again."""
    tokens = module(nchw_to_nlc(x), **kwargs)
    back = nlc_to_nchw(tokens, (x.shape[2], x.shape[3]))
    return back.contiguous() if contiguous else back
