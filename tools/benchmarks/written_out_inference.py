"""Testing as it is usually written out: what bench_inference.py compares with.

All K maps are resized to the network's input, all again to the original image, then argmax; every
window is padded to the whole image; every view of multi-scale testing is kept with its classes.

Legend: small (K, h, w); size (PH, PW) the network's input; ori_shape (H, W).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Size = tuple[int, int]


def interpolate(x: Tensor, size: Size, align_corners: bool) -> Tensor:
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


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


class ConcatenatingPSPHead(nn.Module):
    """The pyramid head of ``head`` (same weights) with its upsampling and concatenation."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        x = inputs[self.head.in_index]
        maps = [x]
        for pool in self.head.psp_modules:
            maps.append(interpolate(pool(x), x.shape[2:], self.head.align_corners))
        return self.head.cls_seg(self.head.bottleneck(torch.cat(maps, dim=1)))
