"""Heads and testing as they are usually written out: what benchmarks compare with.

Heads on the parameters of ours. PSANet (ECCV 2018): over-complete logits, mask, softmax, product.
PSPNet (CVPR 2017): pooled maps upsampled, concatenated, convolved. Testing: all K maps are resized
to the network's input, all again to the original image, then argmax; every window is padded to the
whole image; every view is kept with its classes. Nothing is trimmed, fused or skipped.

Legend: small (K, h, w); size (PH, PW) the network's input; ori_shape (H, W).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.ops import psa_mask

Size = tuple[int, int]


def interpolate(x: Tensor, size: Size, align_corners: bool) -> Tensor:
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


def written_attention(
    value: Tensor, feat: Tensor, weight: Tensor, psa_type: str, mask_size: tuple[int, int]
) -> Tensor:
    """One branch: value, feat (N, C, h, w), weight (Mh * Mw, C) -> (N, C, h, w)."""
    windows = F.conv2d(feat, weight.flatten(1)[:, :, None, None])
    attention = psa_mask(windows, psa_type, mask_size).flatten(2).softmax(dim=1)
    return (value.flatten(2) @ attention.to(value.dtype)).view(value.shape)


def joined(head: nn.Module, maps: Sequence[Tensor], align_corners: bool) -> Tensor:
    """The bottleneck of the first map and the others, upsampled to it."""
    wide = [interpolate(m, maps[0].shape[2:], align_corners) for m in maps[1:]]
    return head.bottleneck(torch.cat([maps[0], *wide], dim=1))


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
    return head.cls_seg(joined(head, [x, out], to.align_corners))


def written_psp_head(head: nn.Module, x: Tensor) -> Tensor:
    """Logits of a PSPHead."""
    return head.cls_seg(joined(head, [x, *(m(x) for m in head.psp_modules)], head.align_corners))


def to_classes(small: Tensor, size: Size, ori_shape: Size, align_corners: bool) -> Tensor:
    """(H, W) int64."""
    full = interpolate(small[None], size, align_corners)
    return interpolate(full, ori_shape, align_corners).argmax(dim=1)[0]


def slide_to_classes(
    small: Tensor, boxes: Sequence[tuple], size: Size, ori_shape: Size, align_corners: bool
) -> Tensor:
    """small (windows, K, h, w) -> (H, W) int64."""
    total = small.new_zeros((1, small.shape[1], *size))
    counts = small.new_zeros((1, 1, *size))
    for (y1, y2, x1, x2), window in zip(boxes, small):
        up = interpolate(window[None], (y2 - y1, x2 - x1), align_corners)
        total += F.pad(up, (x1, size[1] - x2, y1, size[0] - y2))
        counts[..., y1:y2, x1:x2] += 1
    assert (counts == 0).sum() == 0
    return interpolate(total / counts, ori_shape, align_corners).argmax(dim=1)[0]


def merge_views(views: Sequence[tuple], ori_shape: Size, align_corners: bool) -> Tensor:
    """views of (small, size, mirrored) -> (H, W) int64: all kept, then softmax, mean, argmax."""
    kept = []
    for small, size, mirrored in views:
        full = interpolate(interpolate(small[None], size, align_corners), ori_shape, align_corners)
        full = full.flip(-1) if mirrored else full
        kept.append((full, full.argmax(dim=1)))
    total = torch.zeros_like(kept[0][0])
    for full, _ in kept:
        total += full.softmax(dim=1) / len(kept)
    return total.argmax(dim=1)[0]
