"""Point-wise spatial attention patch by patch: the window of all logits is never held.

**A band.** The logits of a patch of Kb x T own pixels about S x U others are one product: features
by the P x Q places of the window that some pixel of the patch can use, P = S + Kb - 1 and
Q = U + T - 1. The pair of own (k, l) and other (s, t), each counted within the patch, is found at
p = s - k + Kb - 1, q = t - l + T - 1: going one pixel on moves the window one place back, so the
pairs are a strided view of the product with every stride positive and every address inside.
Reading the view is the mask operator; writing through it, onto zeros, is the adjoint.

**A block** is the smallest part of the attention that holds whole softmaxes. A softmax of collect
runs over the others of one own pixel: a patch is a block. One of distribute runs over all own
pixels: a block is all patches, cut to a chunk of others.

**Out of reach** the logit is 0. With m >= 0 the maximum, E = exp(L - m), "in" the block:

    z   = sum_in E + n_out exp(-m)
    out = (sum_in (E - exp(-m)) value + exp(-m) sum_all value) / z

**Backward** takes the patches of own pixels in both directions. Call one of value and grad_out the
query, at the own pixels, and the other the key, at the others:

    collect     query = grad_out, key = value       dvalue += query P     at the others
    distribute  query = value,    key = grad_out    dvalue  = key P^T     at the own pixels
    dP = query^T key    dL = P (dP - D)    D = sum over channels of grad_out * out

P is exp(L - lse) again, or was kept. Out of reach P = exp(-lse), whatever the other pixel of the
pair, so P - exp(-lse) takes the place of P, and what all pairs add, a sum over pixels of
exp(-lse) grad_out, is common to the patch.

Shapes: value, out (N, Cv, H, W); feat (N, C, H, W); weight (Mh * Mw, C); lse and D (N, H, W), of
the pixel that the softmax belongs to; the attention kept (N, HW own, HW other), or empty. Softmax,
sums over patches and D are float32 at least. Each pass is a torch.library operator: one opaque node
for compile and export.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from segkit.ops import psa_grouped_passes as grouped
from segkit.ops.autograd_context import Context
from segkit.ops.channel_products import sum_of_channel_products
from segkit.ops.gemm import matmul_nt, takes
from segkit.ops.psa_window import Block, Reach, Rectangle, Tile, cut, overlap

# Measured choices. A large patch wastes more arithmetic (P * Q places for S * U pairs), a small one
# runs further from the peak of a product. A CPU wants so many rows, N * Kb * T, of one:
PATCH_ROWS = 200
CHUNK_BYTES = 64 * 2**20  # logits of a block of distribute, on a CPU
DEVICE_BYTES = 2**30  # band and logits at once on any other device, where launches cost more
NARROW = 0.7  # share of the columns that a block narrower than the map may look at
RUN = 128  # channels added up in one go where oneDNN multiplies: segkit/ops/gemm.py

ALL = (slice(None),)  # index of one whole axis, to be added to those of others
Tensors3 = tuple[Tensor, Tensor, Tensor]


class Window:
    """The logits of one call, and what their gradient adds to features and weight."""

    def __init__(self, feat: Tensor, weight: Tensor, mask: tuple[int, int]) -> None:
        n, c, h, w = feat.shape
        self.size, self.mask = (n, h, w), mask
        self.runs = c // RUN if takes(feat, feat) and c % RUN == 0 else 1
        self.statistics = torch.promote_types(feat.dtype, torch.float32)
        tokens = feat.unflatten(1, (self.runs, -1)).permute(1, 0, 3, 4, 2)
        self.tokens = tokens.contiguous()  # (runs, N, H, W, C / runs)
        self.weight = self._by_run(weight)
        rows, self.chunk_bytes, self.narrow = _budget(feat)
        side = max(1, round((rows / max(1, n)) ** 0.5))
        self.reach = Reach(h, mask[0]), Reach(w, mask[1])
        self.all = Block(*(axis.tiles(side) for axis in self.reach))
        self.top = min(tile.first for tile in self.all.rows)
        self.height = max(tile.first + tile.span for tile in self.all.rows) - self.top
        self.packed = self.band = self.weight.new_empty(0)
        self.packed_for: tuple[int, ...] = ()
        self.band_for: tuple[int, ...] = ()

    def _by_run(self, weight: Tensor) -> Tensor:
        """(Mh * Mw, C) -> (runs, Mh, Mw, C / runs), a view."""
        return weight.view(*self.mask, self.runs, -1).permute(2, 0, 1, 3)

    def patches(self) -> Iterator[tuple[Tile, Tile]]:
        """(row, column), in the order that packs the window least often."""
        return ((row, column) for column in self.all.columns for row in self.all.rows)

    def blocks(self, collect: bool) -> Iterator[Block]:
        if collect:
            yield from (Block([row], [column]) for row, column in self.patches())
            return
        n, h, w = self.size
        reach = self.reach[1].span
        width = self.narrow if reach + self.narrow < NARROW * w else w
        row_bytes = max(1, n) * h * min(w, width + reach) * width * self.statistics.itemsize
        for rows in cut(h, max(1, self.chunk_bytes // row_bytes)):
            yield from (self.all.within(rows, columns) for columns in cut(w, width))

    def logits(self, block: Block, dtype: torch.dtype | None = None) -> Tensor:
        """(N, own, own, other, other) of a block, float32 at least unless told."""
        box = block.own + block.other
        whole = all(t.other == axis for tiles, axis in zip(block, block.other) for t in tiles)
        make = self.tokens.new_empty if whole else self.tokens.new_zeros
        shape = (self.size[0], *(axis.stop - axis.start for axis in box))
        logits = make(shape, dtype=dtype or self.statistics)
        for column in block.columns:
            for row in block.rows:
                part = zip((row.own, column.own, row.other, column.other), box)
                place = tuple(slice(p.start - a.start, p.stop - a.start) for p, a in part)
                logits[ALL + place] = self._pairs(row, column)
        if len(block.columns) > 1:  # no other block wants the last ones first
            self.packed, self.packed_for = self.weight.new_empty(0), ()
        return logits

    def _pairs(self, row: Tile, column: Tile) -> Tensor:
        """(N, Kb, T, S, U), a view of a fresh band."""
        band, *more = (
            matmul_nt(tokens, places)
            for tokens, places in zip(self._tokens(row, column), self._places(row, column))
        )
        for part in more:
            band.add_(part)
        return _skew(band, row, column)

    def _tokens(self, row: Tile, column: Tile) -> Tensor:
        """(runs, N * Kb * T, C / runs)."""
        return self.tokens[:, :, row.own, column.own].flatten(1, 3)

    def _places(self, row: Tile, column: Tile) -> Tensor:
        """(runs, P * Q, C / runs): a view of rows of the window, of which the columns of one tile
        are packed at a time."""
        key = column.first, column.span
        if key != self.packed_for:
            (rows, to_rows) = overlap(self.top, self.height, self.mask[0])
            (columns, to_columns) = overlap(*key, self.mask[1])
            shape = (self.runs, self.height, column.span, self.weight.shape[3])
            self.packed = self.weight.new_empty(0)  # frees the last one first
            self.packed, self.packed_for = self.weight.new_empty(shape), key
            target = self.packed[:, to_rows, to_columns]
            if target.shape != shape:
                self.packed.zero_()
            target.copy_(self.weight[:, rows, columns])
        return self.packed.narrow(1, row.first - self.top, row.span).flatten(1, 2)

    def start_gradients(self) -> None:
        self.dtokens = torch.zeros_like(self.tokens)
        shape = (self.runs, *(axis.span for axis in self.reach), self.tokens.shape[4])
        self.dweight = self.tokens.new_zeros(shape, dtype=self.statistics)  # what is in reach

    def add_gradient(self, row: Tile, column: Tile, dlogits: Tensor) -> None:
        """dlogits (N, Kb, T, S, U) of a patch, any strides."""
        key = (row.owns, column.owns, row.others, column.others)
        if key != self.band_for:  # patches of one shape write the same places: the rest stays 0
            shape = (self.size[0] * row.owns * column.owns, row.span * column.span)
            self.band, self.band_for = self.tokens.new_zeros(shape), key
        _skew(self.band, row, column).copy_(dlogits)
        (rows, of_rows), (columns, of_columns) = (
            overlap(tile.first - axis.start, tile.span, axis.span)
            for tile, axis in zip((row, column), self.reach)
        )
        tokens = self._tokens(row, column)
        for run, places in enumerate(self._places(row, column)):
            own = self.dtokens[run, :, row.own, column.own]
            own.copy_(matmul_nt(self.band, places.t()).view(own.shape))
            window = matmul_nt(self.band.t(), tokens[run].t()).view(row.span, column.span, -1)
            self.dweight[run, rows, columns] += window[of_rows, of_columns]

    def gradients(self) -> tuple[Tensor, Tensor]:
        """(dfeat, dweight)."""
        self.packed = self.band = self.packed[:0]
        dfeat = self.dtokens.permute(1, 0, 4, 2, 3).flatten(1, 2).contiguous()
        dweight = dfeat.new_zeros(self.mask[0] * self.mask[1], dfeat.shape[1])
        rows, columns = (slice(axis.start, axis.start + axis.span) for axis in self.reach)
        self._by_run(dweight)[:, rows, columns] = self.dweight
        return dfeat, dweight


def _budget(feat: Tensor) -> tuple[int, int, int]:
    """Rows of a patch's product, N * Kb * T; for distribute the bytes of the logits of a block,
    and the columns of a narrow one."""
    h, w = feat.shape[2:]
    if feat.device.type == 'cpu':
        return PATCH_ROWS, CHUNK_BYTES, max(8, w // 4)
    own_bytes = 4 * (h * w + (2 * h - 1) * (2 * w - 1))  # logits and band of an own pixel
    return DEVICE_BYTES // own_bytes, DEVICE_BYTES, max(8, w // 2)


def _skew(band: Tensor, row: Tile, column: Tile) -> Tensor:
    """(N, Kb, T, S, U) of a contiguous band (N * Kb * T, P * Q) that starts its storage."""
    pitch = row.span * column.span  # from one own pixel to the next
    patch = row.owns * column.owns
    size = (len(band) // patch, row.owns, column.owns, row.others, column.others)
    strides = (patch * pitch, column.owns * pitch - column.span, pitch - 1, column.span, 1)
    return band.as_strided(size, strides, (row.owns - 1) * column.span + column.owns - 1)


def _softmax_(weights: Tensor, outside: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits (N, M, K) become exp(L - m) in place; outside: pairs of each softmax out of reach.

    Returns lse, z and, where something is out of reach, exp(-m), each (N, M, 1).
    """
    peak = weights.amax(2, keepdim=True)
    if outside:
        peak.clamp_(min=0)
    z = weights.sub_(peak).exp_().sum(2, keepdim=True)
    floor = (-peak).exp_() if outside else None
    if floor is not None:
        z.add_(floor, alpha=outside)
    return peak.add_(z.log()), z, floor


def attend(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask_h: int, mask_w: int,
    softmax: bool, save: bool,
) -> Tensors3:  # fmt: skip
    """(out, lse, attention)."""
    if softmax and use_grouped(feat, (mask_h, mask_w)):
        return grouped.forward_in_turns(value, feat, weight, collect, (mask_h, mask_w), save)
    window = Window(feat, weight, (mask_h, mask_w))
    n, h, w = window.size
    out = value.new_empty(value.shape)
    lse = value.new_zeros(n, h, w, dtype=window.statistics)
    kept = value.new_zeros((n, h, w, h, w) if save else (0,))
    total = value.sum((2, 3), dtype=lse.dtype)[:, :, None]
    strip, columns = value, slice(0, w)
    for block in window.blocks(collect):
        to, of = (block.own, block.other) if collect else (block.other, block.own)
        if of[1] != columns:
            strip, columns = value[..., of[1]].contiguous(), of[1]
        logits = window.logits(block)
        weights = logits.flatten(3).flatten(1, 2)  # (N, own, other)
        weights = weights if collect else weights.transpose(1, 2)
        z = floor = None
        if softmax:
            log, z, floor = _softmax_(weights, h * w - weights.shape[2])
            lse[ALL + to] = log.view(lse[ALL + to].shape)
        if save:
            pairs = kept[ALL + block.own + block.other]
            scale = 1 if z is None else (z if collect else z.transpose(1, 2))
            pairs.copy_((logits.flatten(3).flatten(1, 2) / scale).view(pairs.shape))
        if floor is not None:
            weights.sub_(floor)
        result = matmul_nt(strip[:, :, of[0]].flatten(2), weights.to(value.dtype)).to(lse.dtype)
        if floor is not None:
            result.addcmul_(total, floor.transpose(1, 2))
        if z is not None:  # cheaper than to divide the weights
            result.div_(z.transpose(1, 2))
        target = out[ALL * 2 + to]
        target.copy_(result.view(target.shape))
    return out, lse, kept.view(n, h * w, h * w) if save else kept


def attend_backward(
    grad: Tensor, value: Tensor, feat: Tensor, weight: Tensor, out: Tensor, lse: Tensor,
    kept: Tensor, collect: bool, mask_h: int, mask_w: int, softmax: bool,
) -> Tensors3:  # fmt: skip
    """(dvalue, dfeat, dweight)."""
    if softmax and use_grouped(feat, (mask_h, mask_w)):
        probs = kept if kept.numel() else None
        return grouped.backward_in_turns(
            grad, value, feat, weight, out, lse, probs, collect, (mask_h, mask_w)
        )
    window = Window(feat, weight, (mask_h, mask_w))
    window.start_gradients()
    n, h, w = window.size
    kept = kept.view(n, h, w, h, w) if kept.numel() else kept
    delta = sum_of_channel_products(grad, out, lse.dtype)
    query, key = (grad, value) if collect else (value, grad)
    dvalue = lse.new_zeros(value.shape)
    common = dvalue.new_zeros(dvalue.shape[:2])
    if softmax and not collect:
        common += (grad * (-lse).exp_()[:, None]).sum((2, 3))
    keys, columns = key, slice(0, w)
    for row, column in window.patches():
        own, other = (row.own, column.own), (row.other, column.other)
        if column.other != columns:
            keys, columns = key[..., column.other].contiguous(), column.other
        asked, seen = query[ALL * 2 + own].flatten(2), keys[:, :, row.other].flatten(2)
        if kept.numel():
            pairs = kept[ALL + own + other].to(lse.dtype, copy=True)
        else:
            pairs = window.logits(Block([row], [column]))
        weights = pairs.flatten(3).flatten(1, 2)
        dlogits = matmul_nt(asked.transpose(1, 2), seen.transpose(1, 2)).to(lse.dtype)
        floor = None
        if softmax:
            log, mean = (_of_softmax(maps, own, other, collect) for maps in (lse, delta))
            if not kept.numel():
                weights.sub_(log).exp_()
            dlogits.sub_(mean).mul_(weights)
            if weights.shape[2] < h * w:
                floor = (-log).exp_()
                weights.sub_(floor)
        window.add_gradient(row, column, dlogits.view(pairs.shape))
        weights = weights.to(value.dtype)
        target = dvalue[ALL * 2 + (other if collect else own)]
        if collect:
            target += matmul_nt(asked, weights.transpose(1, 2)).view(target.shape)
            if floor is not None:
                common += (asked * floor.transpose(1, 2)).sum(2)
        else:
            target.copy_(matmul_nt(seen, weights).view(target.shape))
            if floor is not None:
                target += common[:, :, None, None]
    if collect:
        dvalue += common[:, :, None, None]
    return dvalue.to(value.dtype), *window.gradients()


def _of_softmax(maps: Tensor, own: Rectangle, other: Rectangle, collect: bool) -> Tensor:
    """(N, H, W), at the pixels that the softmax belongs to: (N, own, 1) or (N, 1, other)."""
    return (
        maps[ALL + own].flatten(1)[:, :, None] if collect else maps[ALL + other].flatten(1)[:, None]
    )


def all_logits(feat: Tensor, weight: Tensor, mask_h: int, mask_w: int) -> Tensor:
    """(N, HW own, HW other), 0 out of reach."""
    window = Window(feat, weight, (mask_h, mask_w))
    return window.logits(window.all, feat.dtype).flatten(3).flatten(1, 2)


def all_logits_backward(
    grad: Tensor, feat: Tensor, weight: Tensor, mask_h: int, mask_w: int
) -> tuple[Tensor, Tensor]:
    """(dfeat, dweight)."""
    window = Window(feat, weight, (mask_h, mask_w))
    window.start_gradients()
    n, h, w = window.size
    pairs = grad.reshape(n, h, w, h, w)
    for row, column in window.patches():
        part = pairs[:, row.own, column.own, row.other, column.other]
        window.add_gradient(row, column, part)
    return window.gradients()


def use_grouped(feat: Tensor, mask: tuple[int, int]) -> bool:
    """On a GPU, unless the attention of one image passes the budget of that form."""
    return feat.is_cuda and len(feat) > 0 and grouped.images_at_once(feat, mask) > 0


def _operator(name: str, function: Callable[..., object]) -> Any:
    return torch.library.custom_op(f'segkit::{name}', function, mutates_args=())


windowed_attention = _operator('psa_attention', attend)
windowed_attention_backward = _operator('psa_attention_backward', attend_backward)
windowed_logits = _operator('psa_logits', all_logits)
windowed_logits_backward = _operator('psa_logits_backward', all_logits_backward)


def _fresh(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Contiguous, of the same shapes and types."""
    return tuple(t.new_empty(t.shape) for t in tensors)


@windowed_attention.register_fake
def _(value: Tensor, feat: Tensor, weight: Tensor, *numbers: int) -> Tensors3:
    n, _, h, w = value.shape
    statistics = torch.promote_types(value.dtype, torch.float32)
    kept = value.new_empty((n, h * w, h * w) if numbers[-1] else (0,))
    return value.new_empty(value.shape), value.new_empty(n, h, w, dtype=statistics), kept


@windowed_logits.register_fake
def _(feat: Tensor, weight: Tensor, *mask: int) -> Tensor:
    n, _, h, w = feat.shape
    return feat.new_empty(n, h * w, h * w)


class _Kept(Context, Protocol):
    numbers: tuple[int, ...]


def _save(ctx: _Kept, inputs: tuple, output: object) -> None:
    """Inputs that are tensors, and every output of the attention: (out, lse, attention)."""
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    ctx.numbers = inputs[len(tensors) :]
    if isinstance(output, tuple):
        ctx.mark_non_differentiable(*output[1:])
        tensors += output
    ctx.save_for_backward(*tensors)


def _attention_gradient(ctx: _Kept, grad: Tensor, *_: Tensor) -> tuple:
    numbers = ctx.numbers[:-1]  # save is known from the attention
    return *windowed_attention_backward(grad, *ctx.saved_tensors, *numbers), *(None,) * 5


def _logits_gradient(ctx: _Kept, grad: Tensor) -> tuple:
    return *windowed_logits_backward(grad, *ctx.saved_tensors, *ctx.numbers), None, None


def _refuse(ctx: object, *_: object) -> None:
    raise RuntimeError(
        'The windowed PSA backend is differentiable once. For second derivatives call '
        "psa_attention(..., backend='composite')."
    )


windowed_attention_backward.register_fake(lambda grad, *tensors: _fresh(*tensors[:3]))
windowed_logits_backward.register_fake(lambda grad, *tensors: _fresh(*tensors[:2]))
windowed_attention.register_autograd(_attention_gradient, setup_context=_save)
windowed_logits.register_autograd(_logits_gradient, setup_context=_save)
windowed_attention_backward.register_autograd(_refuse)
windowed_logits_backward.register_autograd(_refuse)
