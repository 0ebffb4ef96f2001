"""Point-wise spatial attention in plain tensor arithmetic: traceable, differentiable any times.

The written-out form of PSANet (Zhao et al., ECCV 2018, section 3.2): all window logits, a gather
by computed indices, softmax, product. It builds the over-complete map, so it costs what the paper
costs; it is there for export, ONNX, dynamic shapes and higher derivatives, and as the reference.

Shapes: value (N, Cv, H, W), feat (N, C, H, W), weight (Mh * Mw, C).
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def composite_logits(feat: Tensor, weight: Tensor, mask_h: int, mask_w: int) -> Tensor:
    """(N, H * W own, H * W other); pairs outside the mask are 0."""
    n, _, h, w = feat.shape
    windows = F.conv2d(feat, weight[:, :, None, None]).view(n, mask_h, mask_w, h, w)
    y = torch.arange(h, device=feat.device)
    x = torch.arange(w, device=feat.device)
    rows = (y[None, :] - y[:, None] + (mask_h - 1) // 2)[:, None, :, None]  # (own, other)
    columns = (x[None, :] - x[:, None] + (mask_w - 1) // 2)[None, :, None, :]
    inside = (rows >= 0) & (rows < mask_h) & (columns >= 0) & (columns < mask_w)
    rows, columns = rows.clamp(0, mask_h - 1), columns.clamp(0, mask_w - 1)
    pairs = windows[:, rows, columns, y[:, None, None, None], x[None, :, None, None]]
    zero = pairs.new_zeros(())
    return torch.where(inside, pairs, zero).reshape(n, h * w, h * w)


def composite_attention(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask_h: int, mask_w: int,
    softmax: bool,
) -> Tensor:  # fmt: skip
    """(N, Cv, H, W). Rows of ``pairs`` are what the softmax and the sum run over."""
    pairs = composite_logits(feat, weight, mask_h, mask_w)
    if not collect:  # torch's softmax along a strided axis loses two digits on large maps
        pairs = pairs.transpose(1, 2).contiguous()
    if softmax:
        statistics = torch.promote_types(pairs.dtype, torch.float32)
        pairs = pairs.softmax(dim=2, dtype=statistics).to(value.dtype)
    out = torch.matmul(value.flatten(2), pairs.transpose(1, 2))
    return out.view(value.shape[0], value.shape[1], *feat.shape[2:])
