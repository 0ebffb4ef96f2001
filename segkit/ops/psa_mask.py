"""The mask of point-wise spatial attention as an operator on its own.

PSANet (Zhao et al., ECCV 2018, section 3.2, figure 3): every pixel predicts an over-complete
window of logits, and the mask keeps those whose offset falls on the map. ``psa_attention`` never
builds that window; this operator is for code that does.

Shapes: input (N, Mh * Mw, H, W), channel = offset, pixel = own. Output (N, H * W, H, W):
    collect     output[n, other, own]: a column holds what one own pixel predicts for all others
    distribute  output[n, own, other]: a column holds what all own pixels predict for one other
Pairs outside the mask are 0. See segkit/ops/psa_window.py for own, other and offset.

Pure torch: a gather through an index shared by the batch (half the traffic of a batch-expanded
``torch.gather``), kept for the last two geometries. Where the index of a map would pass 32 MiB,
that of a few rows serves one after another. For a channels-last input the output is a strided view,
read once. The gradient is registered: it moves only the pairs that exist, where autograd would
differentiate the gather into a scatter-add.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor, nn

from segkit.ops import cuda_ext
from segkit.ops.autograd_context import Context
from segkit.ops.psa_window import PSA_TYPES, Reach, parse_mask_size, parse_psa_type

COLLECT = PSA_TYPES.index('collect')
INT32_MAX = 2**31 - 1
INDEX_BYTES = 32 * 2**20  # an index of at most so many is made and kept whole
PART_BYTES = 4 * 2**20  # a larger one is not: this much serves all rows, and stays in a cache


def psa_mask(input: Tensor, psa_type: str | int, mask_size: int | Sequence[int]) -> Tensor:
    """Rearrange windows of logits into maps over pairs of pixels.

    Args:
        input: (N, Mh * Mw, H, W), float16, bfloat16, float32 or float64.
        psa_type: 'collect' or 'distribute' (0 and 1 as in mmcv).
        mask_size: (Mh, Mw), of any size, even ones included: offsets run from -((M - 1) // 2).

    Returns:
        (N, H * W, H, W), contiguous; see the head of this file for the order of pixels.

    Raises:
        ValueError: input is not 4-D, its channels are not Mh * Mw, or psa_type is unknown.
        TypeError: input is not of a floating-point type.
    """
    mode = PSA_TYPES.index(parse_psa_type(psa_type))
    mask_h, mask_w = parse_mask_size(mask_size)
    if input.dim() != 4:
        raise ValueError(f'psa_mask takes (N, Mh * Mw, H, W), got shape {tuple(input.shape)}.')
    if not input.is_floating_point():
        raise TypeError(f'psa_mask takes a floating-point tensor, got {input.dtype}.')
    if input.shape[1] != mask_h * mask_w:
        raise ValueError(
            f'psa_mask: the input has {input.shape[1]} channels, mask_size {(mask_h, mask_w)} '
            f'needs {mask_h} * {mask_w} = {mask_h * mask_w}.'
        )
    return _psa_mask(input, mode, mask_h, mask_w)


class PSAMask(nn.Module):
    """``psa_mask`` as a module without parameters."""

    def __init__(self, psa_type: str | int, mask_size: int | Sequence[int]) -> None:
        super().__init__()
        self.psa_type = parse_psa_type(psa_type)
        self.mask_size = parse_mask_size(mask_size)

    def forward(self, input: Tensor) -> Tensor:
        return psa_mask(input, self.psa_type, self.mask_size)

    def extra_repr(self) -> str:
        return f'psa_type={self.psa_type!r}, mask_size={self.mask_size}'


@torch.library.custom_op('segkit::psa_mask', mutates_args=())
def _psa_mask(input: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    if cuda_ext.use_cuda_ops(input):
        return torch.ops.segkit_ext.psa_mask_forward(input, mode, mask_h, mask_w)
    return _forward(input, mode, mask_h, mask_w)


def _forward(input: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    n, _, h, w = input.shape
    rows, columns = Reach(h, mask_h), Reach(w, mask_w)
    if input.is_contiguous(memory_format=torch.channels_last) and not input.is_contiguous():
        out = _token_major_view(input, rows, columns, mode)
        out = out.clone(memory_format=torch.contiguous_format)  # never the input itself
    else:
        flat = input.reshape(n, -1)
        out = input.new_empty(n, (h * w) ** 2)
        for part, index in _index(h, w, (mask_h, mask_w), mode, input.device):
            if len(index) == out.shape[1]:
                out = flat.index_select(1, index)
            else:
                for source, target in zip(flat, out):
                    torch.index_select(source, 0, index, out=target[part])
    out = out.view(n, h, w, h, w)
    _zero_outside(out, rows, (3, 1) if mode == COLLECT else (1, 3))
    _zero_outside(out, columns, (4, 2) if mode == COLLECT else (2, 4))
    return out.view(n, h * w, h, w)


@torch.library.custom_op('segkit::psa_mask_backward', mutates_args=())
def _psa_mask_backward(grad: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    if cuda_ext.use_cuda_ops(grad):
        return torch.ops.segkit_ext.psa_mask_backward(grad, mode, mask_h, mask_w)
    return _backward(grad, mode, mask_h, mask_w)


def _backward(grad: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    n, _, h, w = grad.shape
    whole = Reach(h, mask_h).full and Reach(w, mask_w).full
    inside = None if whole else _inside(h, w, mask_h, mask_w, mode, grad.device)
    out = grad.new_empty(0)
    for part, index in _index(h, w, (mask_h, mask_w), mode, grad.device):
        source = grad.reshape(n, -1)[:, part]
        if inside is not None:
            index, source = index[inside[part]], source[:, inside[part]]
        index = index.long()  # and the narrower one is freed
        if not part.start:  # the largest tensor last
            out = grad.new_zeros(n, mask_h * mask_w * h * w)
        out.scatter_(1, index.expand(n, -1), source)
    return out.view(n, mask_h * mask_w, h, w)


@_psa_mask.register_fake
def _(input: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    n, _, h, w = input.shape
    return input.new_empty(n, h * w, h, w)


@_psa_mask_backward.register_fake
def _(grad: Tensor, mode: int, mask_h: int, mask_w: int) -> Tensor:
    n, _, h, w = grad.shape
    return grad.new_empty(n, mask_h * mask_w, h, w)


class _Kept(Context, Protocol):
    geometry: tuple[int, ...]


def _save_geometry(ctx: _Kept, inputs: tuple, output: Tensor) -> None:
    ctx.geometry = inputs[1:]  # a linear operator: no tensor is kept


def _grad_of_mask(ctx: _Kept, grad: Tensor) -> tuple:
    return _psa_mask_backward(grad, *ctx.geometry), None, None, None


def _grad_of_backward(ctx: _Kept, grad: Tensor) -> tuple:
    return _psa_mask(grad, *ctx.geometry), None, None, None


_psa_mask.register_autograd(_grad_of_mask, setup_context=_save_geometry)
_psa_mask_backward.register_autograd(_grad_of_backward, setup_context=_save_geometry)


def _pairs(h: int, w: int, mask_h: int, mask_w: int, device: torch.device) -> tuple:
    """Window rows (own, other) and columns (own, other) of all pairs on each axis."""
    y, x = torch.arange(h, device=device), torch.arange(w, device=device)
    rows = y[None, :] - y[:, None] + Reach(h, mask_h).half
    columns = x[None, :] - x[:, None] + Reach(w, mask_w).half
    return rows, columns


def _grid(rows: Tensor, columns: Tensor, mode: int) -> tuple[Tensor, Tensor]:
    """Broadcast (own, other) tables of both axes to the order of the output."""
    if mode == COLLECT:
        rows, columns = rows.t(), columns.t()
    return rows[:, None, :, None], columns[None, :, None, :]


def _index(
    h: int, w: int, mask: tuple[int, int], mode: int, device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """(part of the flat output, where its elements are in a flat (Mh, Mw, H, W)): some rows of the
    output's first axis at a time. Anywhere where the mask ends."""
    size = mask[0] * mask[1] * h * w
    itemsize = 4 if 2 * size <= INT32_MAX else 8  # half the index to read
    row_bytes = itemsize * h * w * w
    length = h if h * row_bytes <= INDEX_BYTES else max(1, PART_BYTES // row_bytes)
    first = _index_of_rows(h, w, mask, mode, length, itemsize, device)
    window_row = mask[1] * h * w
    step = window_row if mode == COLLECT else w - window_row
    for row in range(0, h, length):
        part = slice(row * h * w * w, min(h, row + length) * h * w * w)
        index = first[: part.stop - part.start]
        yield part, index if length == h else (index + step * row).clamp_(0, size - 1)


@lru_cache(maxsize=2)
def _index_of_rows(
    h: int, w: int, mask: tuple[int, int], mode: int, length: int, itemsize: int,
    device: torch.device,
) -> Tensor:  # fmt: skip
    """The index of the first rows of the output's first axis."""
    rows, columns = _pairs(h, w, *mask, device)
    y, x = torch.arange(h, device=device), torch.arange(w, device=device)
    rows = rows * (mask[1] * h * w) + y[:, None] * w
    columns = columns.clamp(0, mask[1] - 1) * (h * w) + x[:, None]
    rows, columns = _grid(rows, columns, mode)
    dtype = torch.int32 if itemsize == 4 else torch.int64
    index = (rows[:length].to(dtype) + columns.to(dtype)).reshape(-1)
    return index.clamp_(0, mask[0] * mask[1] * h * w - 1) if length == h else index


def _inside(h: int, w: int, mask_h: int, mask_w: int, mode: int, device: torch.device) -> Tensor:
    """Flat mask of the output elements that the window holds."""
    rows, columns = _pairs(h, w, mask_h, mask_w, device)
    rows = (rows >= 0) & (rows < mask_h)
    columns = (columns >= 0) & (columns < mask_w)
    rows, columns = _grid(rows, columns, mode)
    return (rows & columns).reshape(-1)


def _token_major_view(input: Tensor, rows: Reach, columns: Reach, mode: int) -> Tensor:
    """The output as a strided view of a channels-last input; elements outside the mask are others.

    Moving own by one pixel moves the window by minus one offset: its stride is one pixel less one
    offset. All addresses stay inside the storage for any mask (the smallest is the centre of the
    first window, the largest the same within the last one).
    """
    n, m, h, w = input.shape
    own = (w * m - columns.mask, m - 1)
    other = (columns.mask, 1)
    strides = (*other, *own) if mode == COLLECT else (*own, *other)
    offset = input.storage_offset() + rows.half * columns.mask + columns.half
    return input.as_strided((n, h, w, h, w), (h * w * m, *strides), offset)


def _zero_outside(out: Tensor, reach: Reach, dims: tuple[int, int]) -> None:
    """Zero in place the pairs of one axis whose offset the window lacks; dims = (own, other)."""
    own_dim, other_dim = dims
    for own in range(reach.size):
        first, last = reach.others(own, own)
        plane = out.narrow(own_dim, own, 1)
        if first > 0:
            plane.narrow(other_dim, 0, first).zero_()
        if last < reach.size:
            plane.narrow(other_dim, last, reach.size - last).zero_()
