"""Triton kernels of segkit/ops/triton_psa.py: a band to attention, and back.

The layout of a band is that of segkit/ops/psa_grouped.py: own pixels in the order (k, n, l), the
logit of other (s, t) at window row H - 1 - s + k % Kb and window column t - l + before. Columns
past ``before`` or ``after`` are outside the mask: logit 0. An own pixel is a number i = k * W + l,
an other pixel j = s * W + t; pitch is the length of a band's row, Q that of a window row.

Offsets are 64-bit where they span more than one row: a batch's attention can pass 2**31 elements.
"""

import triton
import triton.language as tl

LOWEST = tl.constexpr(-1e30)  # finite, so that no difference of maxima is nan


@triton.jit
def _corner(i, n, images, h, w, kb, pitch, Q, before):
    """Offset in the band of the pair (own i, other 0) of image n."""
    k = i // w
    row = (k * images + n) * w + i % w
    return row.to(tl.int64) * pitch + (h - 1 + k % kb) * Q + before - i % w


@triton.jit
def _logits(corner, i, j, w, Q, before, after, inside):
    """Logits of pairs (own i, other j), float32: 0 outside the mask, -inf where not inside."""
    step = j % w - i % w
    held = inside & (step >= -before) & (step <= after)
    x = tl.load(corner + (j % w - j // w * Q), mask=held, other=0.0).to(tl.float32)
    return tl.where(inside, x, float('-inf'))


@triton.jit
def _one_more(tops, totals, x):
    """Running maxima and sums of exp(x - maximum), each element for itself."""
    higher = tl.maximum(tops, x)
    return higher, totals * tl.exp(tops - higher) + tl.exp(x - higher)


@triton.jit
def softmax_rows(
    band, attention, lse, images, h, w, kb, pitch, Q, before, after,
    BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """One program an own pixel. WHOLE: its pairs are held in registers, one read and one write;
    otherwise two reads, of which one comes from the cache."""
    pixels = h * w
    row = tl.program_id(0)
    i = row % pixels
    source = band + _corner(i, row // pixels, images, h, w, kb, pitch, Q, before)
    target = attention + row.to(tl.int64) * pixels
    block = tl.arange(0, BLOCK)
    if WHOLE:
        x = _logits(source, i, block, w, Q, before, after, block < pixels)
        top = tl.max(x, 0)
        e = tl.exp(x - top)
        total = tl.sum(e, 0)
        tl.store(target + block, (e / total).to(attention.dtype.element_ty), mask=block < pixels)
    else:
        tops = tl.full((BLOCK,), LOWEST, tl.float32)
        totals = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, pixels, BLOCK):
            j = start + block
            x = _logits(source, i, j, w, Q, before, after, j < pixels)
            tops, totals = _one_more(tops, totals, x)
        top = tl.max(tops, 0)
        total = tl.sum(totals * tl.exp(tops - top), 0)
        for start in range(0, pixels, BLOCK):
            j = start + block
            e = tl.exp(_logits(source, i, j, w, Q, before, after, j < pixels) - top)
            tl.store(target + j, (e / total).to(attention.dtype.element_ty), mask=j < pixels)
    tl.store(lse + row, top + tl.log(total))


@triton.jit
def softmax_columns(
    band, attention, lse, images, h, w, kb, pitch, Q, before, after,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One program a run of other pixels: it walks over the own pixels twice, for the
    statistics and for the attention."""
    pixels = h * w
    n = tl.program_id(1)
    j = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    row = tl.arange(0, ROWS)[:, None]
    # Maxima and sums are kept apart for each row of the tile and joined once: adding thousands of
    # terms one after another would lose two digits.
    tops = tl.full((ROWS, COLUMNS), LOWEST, tl.float32)
    totals = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, pixels, ROWS):
        i = start + row
        inside = (i < pixels) & (j < pixels)
        source = band + _corner(i, n, images, h, w, kb, pitch, Q, before)
        x = _logits(source, i, j, w, Q, before, after, inside)
        tops, totals = _one_more(tops, totals, x)
    top = tl.max(tops, 0)[None, :]
    total = tl.sum(totals * tl.exp(tops - top), 0)[None, :]
    total = tl.where(j < pixels, total, 1.0)  # a column beyond the map has none
    tl.store(lse + n.to(tl.int64) * pixels + j, top + tl.log(total), mask=j < pixels)
    target = attention + n.to(tl.int64) * pixels * pixels
    for start in range(0, pixels, ROWS):
        i = start + row
        inside = (i < pixels) & (j < pixels)
        source = band + _corner(i, n, images, h, w, kb, pitch, Q, before)
        p = tl.exp(_logits(source, i, j, w, Q, before, after, inside) - top) / total
        place = target + i.to(tl.int64) * pixels + j
        tl.store(place, p.to(attention.dtype.element_ty), mask=inside)


@triton.jit
def exp_rows(
    band, lse, attention, images, h, w, kb, pitch, Q, before, after,
    COLLECT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program a run of the pairs of an own pixel."""
    pixels = h * w
    row = tl.program_id(0)
    i, n = row % pixels, row // pixels
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    source = band + _corner(i, n, images, h, w, kb, pitch, Q, before)
    x = _logits(source, i, j, w, Q, before, after, j < pixels)
    if COLLECT:
        x -= tl.load(lse + row)
    else:
        x -= tl.load(lse + n.to(tl.int64) * pixels + j, mask=j < pixels, other=0.0)
    target = attention + row.to(tl.int64) * pixels + j
    tl.store(target, tl.exp(x).to(attention.dtype.element_ty), mask=j < pixels)


@triton.jit
def backward_rows(
    attention, grad, delta, band, images, h, w, kb, pitch, Q, before, after,
    COLLECT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program a run of window places of an own pixel, each with the pair it stands for."""
    row = tl.program_id(0)  # of the band: (k, n, l)
    own_column, n, k = row % w, row // w % images, row // w // images
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    q = place % Q
    s, t = h - 1 + k % kb - place // Q, q + own_column - before
    limit = tl.where(k < h, h, 0)  # a group's rows beyond the map have no pairs
    inside = (s >= 0) & (s < limit) & (t >= 0) & (t < w) & (q <= before + after)
    pixels, j = h * w, s * w + t
    step = (n.to(tl.int64) * pixels + k * w + own_column) * pixels + j
    p = tl.load(attention + step, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(grad + step, mask=inside, other=0.0).to(tl.float32)
    if COLLECT:
        d = tl.load(delta + n.to(tl.int64) * pixels + tl.minimum(k, h - 1) * w + own_column)
    else:
        d = tl.load(delta + n.to(tl.int64) * pixels + j, mask=inside, other=0.0)
    result = tl.where(inside, p * (g - d), 0.0).to(band.dtype.element_ty)
    tl.store(band + row.to(tl.int64) * pitch + place, result, mask=place < pitch)
