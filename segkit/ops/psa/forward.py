"""Forward pass of windowed attention, patch by patch; the window of logits is never held.

collect     the softmax of an own pixel runs over others, all in one patch: a patch is complete.
distribute  the softmax of an other runs over own pixels, in all patches: others are taken in
            chunks, and the logits of all own pixels for one chunk are held.

Truncated masks: pairs out of reach have logit 0, so with a maximum m >= 0 and E = exp(L - m)

    z   = sum_in E + n_out exp(-m)
    out = (sum_in (E - exp(-m)) value + exp(-m) sum_all value) / z

where "in" may be any rectangle that holds the window, and what lies in it beyond the window (zero
weights, so L = 0) drops out of the first sum.

Shapes: value (N, Cv, H, W); logits (N, M, K), softmax over K, M results; lse (N, H, W): log of the
softmax's denominator of each own pixel (collect) or other pixel (distribute); attention
(N, H, W own, H, W other) or None.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.ops.gemm import matmul_nt
from segkit.ops.psa.patches import ALL, Patches
from segkit.ops.psa.tiles import Range


@dataclass
class Result:
    """What a pass fills; attention may be None."""

    out: Tensor
    lse: Tensor
    attention: Tensor | None


def collect_forward(value: Tensor, patches: Patches, softmax: bool, result: Result) -> None:
    """Fill ``result``."""
    out, lse, attention = result.out, result.lse, result.attention
    total = value.sum((2, 3), dtype=lse.dtype)
    for column, column_patches in patches.column_passes():
        values = value[..., column.other].contiguous()
        for patch in column_patches:
            logits = patch.logits(lse.dtype)
            z, floor = None, None
            if softmax:
                z, floor = exponentiate_(logits, patches.pixels, lse[patch.own])
            if attention is not None:
                keep(attention[patch.own], patch.other, logits, z, floor)
            seen = values[:, :, patch.row.other].flatten(2)
            copy_into(out[patch.own_map], aggregate_(logits, seen, z, floor, total))


def distribute_forward(value: Tensor, patches: Patches, softmax: bool, result: Result) -> None:
    """The same with the roles of own and other exchanged, a chunk of others at a time."""
    out, lse, attention = result.out, result.lse, result.attention
    total = value.sum((2, 3), dtype=lse.dtype)
    for own, other in patches.chunks():
        logits = gather_chunk(patches, own, other, lse.dtype).transpose(1, 2)
        seen_at, at = _slices(own), _slices(other)
        z, floor = None, None
        if softmax:
            z, floor = exponentiate_(logits, patches.pixels, lse[ALL + at])
        if attention is not None:
            pairs = attention[ALL * 3 + at].permute(0, 3, 4, 1, 2)
            keep(pairs, seen_at, logits, z, floor)
        seen = value[ALL * 2 + seen_at].flatten(2)
        copy_into(out[ALL * 2 + at], aggregate_(logits, seen, z, floor, total))


def gather_chunk(
    patches: Patches, own: tuple[Range, Range], other: tuple[Range, Range], dtype: torch.dtype
) -> Tensor:
    """Logits (N, own, other) between two rectangles of pixels."""
    sizes = [stop - start for start, stop in (*own, *other)]
    full = patches.rows.full and patches.columns.full
    make = patches.tokens.new_empty if full else patches.tokens.new_zeros
    chunk = make((patches.size[0], *sizes), dtype=dtype)
    for _, column_patches in patches.column_passes(own, other):
        for patch in column_patches:
            corners = (own[0][0], own[1][0], other[0][0], other[1][0])
            ranges = (patch.row.own, patch.column.own, patch.row.other, patch.column.other)
            place = tuple(slice(r.start - c, r.stop - c) for r, c in zip(ranges, corners))
            chunk[ALL + place] = patch.pairs()
    return chunk.flatten(3, 4).flatten(1, 2)


def exponentiate_(logits: Tensor, pixels: int, lse: Tensor) -> tuple[Tensor, Tensor | None]:
    """Turn logits (N, M, K) into exp(L - m) in place; fill lse.

    Returns z (N, M, 1) and the value exp(-m) of a pair out of reach, None where there is none.
    """
    outside = pixels - logits.shape[2]
    peak = logits.amax(2, keepdim=True)
    if outside:
        peak.clamp_(min=0)
    z = logits.sub_(peak).exp_().sum(2, keepdim=True)
    floor = (-peak).exp_() if outside else None
    if floor is not None:
        z.add_(floor, alpha=outside)
    copy_into(lse, z.log().add_(peak))
    return z, floor


def aggregate_(
    weights: Tensor, values: Tensor, z: Tensor | None, floor: Tensor | None, total: Tensor
) -> Tensor:
    """(N, Cv, M): weights (N, M, K), changed in place, times values (N, Cv, K), over z.

    Dividing the Cv results of a pixel is cheaper than dividing its K weights.
    """
    if floor is not None:
        weights.sub_(floor)
    result = matmul_nt(values, weights.to(values.dtype)).to(total.dtype)
    if floor is not None:
        result.addcmul_(total[:, :, None], floor.transpose(1, 2))
    return result if z is None else result.div_(z.transpose(1, 2))


def keep(
    pairs: Tensor, reach: tuple[slice, ...], weights: Tensor, z: Tensor | None, floor: Tensor | None
) -> None:
    """Store the normalised weights (N, M, K) in pairs (N, *M, H, W), and exp(0) out of reach."""
    if floor is not None and z is not None:  # a softmax has both
        pairs.copy_((floor / z).view(*pairs.shape[:3], 1, 1).expand_as(pairs))
    copy_into(pairs[ALL * 3 + reach], weights if z is None else weights / z)


def copy_into(target: Tensor, source: Tensor) -> None:
    target.copy_(source.reshape(target.shape))


def _slices(ranges: tuple[Range, Range]) -> tuple[slice, slice]:
    rows, columns = ranges
    return slice(*rows), slice(*columns)
