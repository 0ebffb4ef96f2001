"""Resizing and pooling of maps whose height and width stay open in an exported graph.

An exporter specialises what branches on a size, and adaptive pooling has no counterpart in ONNX.
Both are linear and separable, so with an open size they are written as two small matrices whose
entries are arithmetic on the sizes themselves. With fixed sizes torch's own operators serve.

Legend: x (N, C, h, w); a matrix (target, source); an open size is a ``torch.SymInt``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segkit.models.layers import resize


def is_open(*sizes: int) -> bool:
    """Whether any size is left open by the exporter."""
    return any(isinstance(size, torch.SymInt) for size in sizes)


def resize_to(x: Tensor, size: Sequence[int], align_corners: bool | int) -> Tensor:
    """Bilinear (N, C, h, w) -> (N, C, *size); an open ``align_corners`` is 0 or 1."""
    if not is_open(*x.shape[2:], *size):
        return resize(x, (size[0], size[1]), mode='bilinear', align_corners=bool(align_corners))
    rows, columns = (
        _interpolation(source, target, align_corners, x)
        for source, target in zip(x.shape[2:], size)
    )
    return rows @ x @ columns.transpose(0, 1)


def _interpolation(source: int, target: int, align_corners: bool | int, like: Tensor) -> Tensor:
    """Entry (i, j) is 1 - |position of i - j|, where that is positive."""
    steps = torch.arange(target, device=like.device, dtype=torch.float32)
    places = torch.arange(source, device=like.device, dtype=torch.float32)
    one = torch.ones(1, device=like.device)  # sizes become tensors by it, not branches
    centres = (steps + 0.5) * source / target - 0.5
    corners = steps * (source - 1) / (one * (target - 1)).clamp(min=1)
    position = corners * align_corners + centres * (1 - align_corners)
    position = torch.minimum(position.clamp(min=0), one * (source - 1))
    return (1 - (position[:, None] - places).abs()).clamp(min=0).to(like.dtype)


class CellPool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling, with open sizes too; no parameters either way."""

    def __init__(self, cells: int) -> None:
        super().__init__(cells)
        self.cells = cells

    def forward(self, x: Tensor) -> Tensor:
        if not is_open(*x.shape[2:]):
            return super().forward(x)
        rows, columns = (_averages(source, self.cells, x) for source in x.shape[2:])
        return rows @ x @ columns.transpose(0, 1)


def _averages(source: int, cells: int, like: Tensor) -> Tensor:
    """Row i averages [floor(i * source / cells), ceil((i + 1) * source / cells))."""
    starts = torch.arange(cells, device=like.device)[:, None] * source
    first = torch.div(starts, cells, rounding_mode='floor')
    last = torch.div(starts + source + cells - 1, cells, rounding_mode='floor')
    index = torch.arange(source, device=like.device)
    inside = ((index >= first) & (index < last)).to(like.dtype)
    return inside / (last - first).to(like.dtype)
