"""Point-wise spatial attention by loops over pixels, and in its written-out form: the oracles."""

import torch
import torch.nn.functional as F
from torch import Tensor

# (H, W), (Mh, Mw): full, truncated, even, one axis truncated, one pixel, far larger than the map
GEOMETRIES = [
    ((3, 4), (5, 7)),
    ((3, 4), (3, 3)),
    ((3, 4), (4, 8)),
    ((3, 5), (2, 9)),
    ((5, 3), (9, 2)),
    ((4, 3), (1, 1)),
    ((3, 3), (12, 15)),
]


def window_index(own: tuple, other: tuple, mask: tuple) -> int | None:
    """Channel of the window of ``own`` that speaks about ``other``; None outside the mask."""
    row = other[0] - own[0] + (mask[0] - 1) // 2
    column = other[1] - own[1] + (mask[1] - 1) // 2
    inside = 0 <= row < mask[0] and 0 <= column < mask[1]
    return row * mask[1] + column if inside else None


def pixels(size: tuple) -> list[tuple[int, int]]:
    return [(y, x) for y in range(size[0]) for x in range(size[1])]


def loop_mask(windows: Tensor, psa_type: str, mask: tuple) -> Tensor:
    """psa_mask pair by pair."""
    n, _, h, w = windows.shape
    out = windows.new_zeros(n, h * w, h * w)
    for i, own in enumerate(pixels((h, w))):
        for j, other in enumerate(pixels((h, w))):
            index = window_index(own, other, mask)
            if index is not None:
                place = (j, i) if psa_type == 'collect' else (i, j)
                out[:, place[0], place[1]] = windows[:, index, own[0], own[1]]
    return out.view(n, h * w, h, w)


def loop_attention(
    value: Tensor, feat: Tensor, weight: Tensor, psa_type: str, mask: tuple, softmax: bool = True
) -> Tensor:
    """psa_attention pair by pair."""
    n, _, h, w = feat.shape
    logits = feat.new_zeros(n, h * w, h * w)  # own, other
    for i, own in enumerate(pixels((h, w))):
        for j, other in enumerate(pixels((h, w))):
            index = window_index(own, other, mask)
            if index is not None:
                logits[:, i, j] = feat[:, :, own[0], own[1]] @ weight[index]
    out = torch.zeros_like(value).flatten(2)
    for pixel in range(h * w):
        share = logits[:, pixel] if psa_type == 'collect' else logits[:, :, pixel]
        share = share.exp() / share.exp().sum(1, keepdim=True) if softmax else share
        for source in range(h * w):
            out[:, :, pixel] += share[:, source, None] * value[:, :, source // w, source % w]
    return out.view_as(value)


def written_out(value: Tensor, feat: Tensor, weight: Tensor, psa_type: str, mask: tuple) -> Tensor:
    """Over-complete map, mask, softmax, product, as the paper and its implementations do it."""
    h, w = feat.shape[2:]
    y, x = torch.arange(h), torch.arange(w)
    rows = y[:, None] - y + (mask[0] - 1) // 2  # other, own
    columns = x[:, None] - x + (mask[1] - 1) // 2
    inside = ((rows >= 0) & (rows < mask[0]))[:, None, :, None]
    inside = inside & ((columns >= 0) & (columns < mask[1]))[None, :, None, :]
    channel = rows.clamp(0, mask[0] - 1)[:, None, :, None] * mask[1]
    channel = channel + columns.clamp(0, mask[1] - 1)[None, :, None, :]
    windows = F.conv2d(feat, weight[:, :, None, None])
    pairs = windows[:, channel, y[:, None], x] * inside  # (N, other, other, own, own)
    pairs = pairs.flatten(3, 4).flatten(1, 2)
    if psa_type == 'distribute':
        pairs = pairs.transpose(1, 2)
    return (value.flatten(2) @ pairs.softmax(dim=1)).view_as(value)


def random_case(size: tuple, mask: tuple, channels: int = 6, n: int = 2, **kwargs) -> tuple:
    """value, feat, weight with a fixed seed; logits of the order of one."""
    generator = torch.Generator().manual_seed(sum(size) * 31 + sum(mask))
    kwargs = dict(dtype=torch.float64) | kwargs
    value = torch.randn(n, channels + 1, *size, generator=generator, dtype=torch.float64)
    feat = torch.randn(n, channels, *size, generator=generator, dtype=torch.float64)
    weight = torch.randn(mask[0] * mask[1], channels, generator=generator, dtype=torch.float64)
    weight = weight / channels**0.5
    return tuple(t.to(kwargs['dtype']).requires_grad_() for t in (value, feat, weight))
