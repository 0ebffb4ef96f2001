"""Heads as the papers write them, on the parameters of a head: what benchmarks compare with.

PSANet (ECCV 2018): over-complete logits, mask, softmax, product. PSPNet (CVPR 2017): pooled maps
upsampled, concatenated, convolved. Nothing is trimmed, fused or skipped.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.ops import psa_mask


def written_attention(
    value: Tensor, feat: Tensor, weight: Tensor, psa_type: str, mask_size: tuple[int, int]
) -> Tensor:
    """One branch: value, feat (N, C, h, w), weight (Mh * Mw, C) -> (N, C, h, w)."""
    windows = F.conv2d(feat, weight.flatten(1)[:, :, None, None])
    attention = psa_mask(windows, psa_type, mask_size).flatten(2).softmax(dim=1)
    return (value.flatten(2) @ attention.to(value.dtype)).view(value.shape)


def _joined(head: nn.Module, maps: list[Tensor], size: tuple, align_corners: bool) -> Tensor:
    wide = [F.interpolate(m, size, mode='bilinear', align_corners=align_corners) for m in maps[1:]]
    return head.cls_seg(head.bottleneck(torch.cat([maps[0], *wide], dim=1)))


def written_psa_head(head: nn.Module, x: Tensor) -> Tensor:
    """Logits of a two-way PSAHead with softmax."""
    to = head._shrink_to(x)
    context = []
    for psa_type, reduce, attention in (
        ('collect', head.reduce, head.attention),
        ('distribute', head.reduce_p, head.attention_p),
    ):
        low = F.interpolate(reduce(x), to.size, mode='bilinear', align_corners=to.align_corners)
        out = written_attention(
            low, attention[0](low), attention[1].weight, psa_type, head.mask_size
        )
        context.append(out / head.normalization_factor)
    out = head.proj(torch.cat(context, dim=1))
    return _joined(head, [x, out], x.shape[2:], to.align_corners)


def written_psp_head(head: nn.Module, x: Tensor) -> Tensor:
    """Logits of a PSPHead."""
    pooled = [branch(x) for branch in head.psp_modules]
    return _joined(head, [x, *pooled], x.shape[2:], head.align_corners)
