"""Triton kernels of segkit/ops/triton_psa.py, which documents the shapes and calls them.

``pairs`` are addressed through four strides (n, kk, uu, s; that of t is 1), so the skew costs two
integer operations an element. Row numbers are widened to 64 bits before they are multiplied: the
attention of a batch can hold more than 2**31 elements.
"""

import triton
import triton.language as tl


@triton.jit
def _own_row(row, stride_n, stride_k, stride_l, m, t):
    """Offset of the first pair of an own pixel; ``row`` counts them over the batch."""
    own = row % m
    step = (row // m).to(tl.int64) * stride_n
    return step + (own // t).to(tl.int64) * stride_k + (own % t).to(tl.int64) * stride_l


@triton.jit
def softmax_rows(
    pairs, attention, lse, stride_n, stride_k, stride_l, stride_s, m, t, k, u, outside,
    BLOCK: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """One program an own pixel. WHOLE: its pairs are held in registers, one read and one write;
    otherwise three reads, of which two come from the cache."""
    row = tl.program_id(0)
    source = pairs + _own_row(row, stride_n, stride_k, stride_l, m, t)
    target = attention + row.to(tl.int64) * k
    column = tl.arange(0, BLOCK)
    floor = tl.where(outside > 0, 0.0, float('-inf'))
    if WHOLE:
        x = tl.load(
            source + column // u * stride_s + column % u, mask=column < k, other=float('-inf')
        ).to(tl.float32)
        top = tl.maximum(tl.max(x, 0), floor)
        total = tl.sum(tl.exp(x - top), 0)
    else:
        tops = tl.full((BLOCK,), float('-inf'), tl.float32)
        for start in range(0, k, BLOCK):
            c = start + column
            x = tl.load(source + c // u * stride_s + c % u, mask=c < k, other=float('-inf'))
            tops = tl.maximum(tops, x.to(tl.float32))
        top = tl.maximum(tl.max(tops, 0), floor)
        totals = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, k, BLOCK):
            c = start + column
            x = tl.load(source + c // u * stride_s + c % u, mask=c < k, other=float('-inf'))
            totals += tl.exp(x.to(tl.float32) - top)
        total = tl.sum(totals, 0)
    total += tl.where(outside > 0, outside * tl.exp(-top), 0.0)
    share = 1.0 / total
    excess = tl.where(outside > 0, tl.exp(-top) * share, 0.0)
    tl.store(lse + row, top + tl.log(total))
    if WHOLE:
        p = tl.exp(x - top) * share - excess
        tl.store(target + column, p.to(attention.dtype.element_ty), mask=column < k)
    else:
        for start in range(0, k, BLOCK):
            c = start + column
            x = tl.load(source + c // u * stride_s + c % u, mask=c < k, other=float('-inf'))
            p = tl.exp(x.to(tl.float32) - top) * share - excess
            tl.store(target + c, p.to(attention.dtype.element_ty), mask=c < k)


@triton.jit
def softmax_columns(
    pairs, attention, lse, stride_n, stride_k, stride_l, stride_s, m, t, k, u, outside,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One program a run of others: a first walk over the own pixels for the statistics, with a
    running maximum, a second one for the attention."""
    n = tl.program_id(0)
    c = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    other = (c // u * stride_s + c % u)[None, :]
    source = pairs + n.to(tl.int64) * stride_n
    target = attention + n.to(tl.int64) * m * k + c[None, :]
    row = tl.arange(0, ROWS)
    # The sums are kept apart for each row of the tile and joined once: adding thousands of terms
    # one after another would lose two digits.
    tops = tl.full((ROWS, COLUMNS), float('-inf'), tl.float32)
    for start in range(0, m, ROWS):
        own = start + row
        step = (own // t).to(tl.int64) * stride_k + (own % t).to(tl.int64) * stride_l
        inside = (own < m)[:, None] & (c < k)[None, :]
        x = tl.load(source + step[:, None] + other, mask=inside, other=float('-inf'))
        tops = tl.maximum(tops, x.to(tl.float32))
    # A column beyond the last has no finite maximum: 0 keeps it free of nan.
    floor = tl.where((outside > 0) | (c >= k), 0.0, float('-inf'))
    top = tl.maximum(tl.max(tops, 0), floor)
    totals = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, m, ROWS):
        own = start + row
        step = (own // t).to(tl.int64) * stride_k + (own % t).to(tl.int64) * stride_l
        inside = (own < m)[:, None] & (c < k)[None, :]
        x = tl.load(source + step[:, None] + other, mask=inside, other=float('-inf'))
        totals += tl.exp(x.to(tl.float32) - top[None, :])
    total = tl.sum(totals, 0) + tl.where(outside > 0, outside * tl.exp(-top), 0.0)
    total = tl.where(c < k, total, 1.0)
    excess = tl.where(outside > 0, tl.exp(-top) / total, 0.0)
    tl.store(lse + n.to(tl.int64) * k + c, top + tl.log(total), mask=c < k)
    for start in range(0, m, ROWS):
        own = start + row
        step = (own // t).to(tl.int64) * stride_k + (own % t).to(tl.int64) * stride_l
        inside = (own < m)[:, None] & (c < k)[None, :]
        x = tl.load(source + step[:, None] + other, mask=inside, other=float('-inf'))
        p = tl.exp(x.to(tl.float32) - top[None, :]) / total[None, :] - excess[None, :]
        place = target + own.to(tl.int64)[:, None] * k
        tl.store(place, p.to(attention.dtype.element_ty), mask=inside)


@triton.jit
def exp_rows(
    pairs, lse, attention, stride_n, stride_k, stride_l, stride_s, m, t, k, u,
    COLLECT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program a run of the pairs of an own pixel."""
    row = tl.program_id(0)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    source = pairs + _own_row(row, stride_n, stride_k, stride_l, m, t)
    x = tl.load(source + c // u * stride_s + c % u, mask=c < k, other=0.0).to(tl.float32)
    if COLLECT:
        p = tl.exp(x - tl.load(lse + row))
    else:
        p = tl.exp(x - tl.load(lse + (row // m).to(tl.int64) * k + c, mask=c < k, other=0.0))
    tl.store(attention + row.to(tl.int64) * k + c, p.to(attention.dtype.element_ty), mask=c < k)


@triton.jit
def backward_rows(
    attention, grad, delta, band, m, kb, t, s, u, COLLECT: tl.constexpr, BLOCK: tl.constexpr
):
    """One program a run of window places of an own pixel, each with the pair it came from."""
    row = tl.program_id(0)
    own = row % m
    columns = u + t - 1
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    other_row = place // columns + own // t - (kb - 1)
    other_column = place % columns + own % t - (t - 1)
    inside = (other_row >= 0) & (other_row < s) & (other_column >= 0) & (other_column < u)
    pair = other_row * u + other_column
    step = row.to(tl.int64) * s * u
    p = tl.load(attention + step + pair, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(grad + step + pair, mask=inside, other=0.0).to(tl.float32)
    if COLLECT:
        d = tl.load(delta + row)
    else:
        d = tl.load(delta + (row // m).to(tl.int64) * s * u + pair, mask=inside, other=0.0)
    size = (s + kb - 1) * columns
    result = tl.where(inside, p * (g - d), 0.0).to(band.dtype.element_ty)
    tl.store(band + row.to(tl.int64) * size + place, result, mask=place < size)
