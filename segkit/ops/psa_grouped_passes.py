"""Forward and backward pass of windowed attention in few, large operations: the form for GPUs.

Products of whole groups (grouped.py) with one step over memory between them, which is a Triton
kernel where there is one and plain torch elsewhere. Both give the same numbers; the plain steps
need a window that is padded to all columns, so they multiply a little more.

Shapes: value, grad, out (N, Cv, H, W); feat (N, C, H, W); weight (Mh * Mw, C); attention
(N, HW own, HW other); lse, delta (N, H, W), of own pixels for collect, of others for distribute.
"""

from collections.abc import Sequence
from itertools import repeat

import torch
from torch import Tensor

from segkit.ops import triton_psa
from segkit.ops.channel_products import sum_of_channel_products
from segkit.ops.psa_grouped import Groups, Window, pack_tokens, skew, unpack_tokens, unskew
from segkit.ops.psa_window import Reach

FORWARD_ROWS = 1  # own rows of a group: no row of a product is wasted
BACKWARD_GROUPS = 4  # the weight's gradient is summed over groups: few of them, 1 / 4 waste
CHUNK_BYTES = 2**30  # band and attention that are held at once; images are taken in turns


def forward_in_turns(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask: tuple[int, int], save: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """(out, lse, attention), as many images at a time as the budget holds; attention is empty
    unless saved."""
    length = images_at_once(feat, mask)
    parts = []
    for some_value, some_feat in zip(value.split(length), feat.split(length)):
        out, lse, attention = grouped_forward(some_value, some_feat, weight, collect, mask)
        parts.append((out, lse, attention if save else value.new_empty(0)))
    outs, lses, attentions = (_join(part) for part in zip(*parts))
    return outs, lses, attentions


def backward_in_turns(
    grad: Tensor, value: Tensor, feat: Tensor, weight: Tensor, out: Tensor, lse: Tensor,
    attention: Tensor | None, collect: bool, mask: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(dvalue, dfeat, dweight)."""
    weight_grad = weight.new_zeros(weight.shape, dtype=lse.dtype)
    delta = sum_of_channel_products(grad, out, lse.dtype)
    length = images_at_once(feat, mask)
    turns = zip(*(t.split(length) for t in (grad, value, feat, lse, delta)))
    kept = repeat(None) if attention is None else attention.split(length)
    parts = [
        grouped_backward(g, v, f, weight, s, d, probs, collect, mask, weight_grad)
        for (g, v, f, s, d), probs in zip(turns, kept)
    ]
    dvalue, dfeat = (_join(part) for part in zip(*parts))
    return dvalue, dfeat, weight_grad.to(weight.dtype)


def _join(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def grouped_forward(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """(out, lse, attention)."""
    groups = groups_of(feat, mask, FORWARD_ROWS)
    band = _band(feat, Window(weight, mask, groups), groups)
    if triton_psa.use_triton(band):
        attention, lse = triton_psa.skew_softmax(band, groups, collect, value.dtype)
    else:
        logits = skew(band, groups).to(_statistics(feat))
        lse = logits.logsumexp(2 if collect else 1)
        attention = _exp(logits, lse, collect).to(value.dtype)
    weights = attention.transpose(1, 2) if collect else attention
    out = torch.bmm(value.flatten(2), weights).view(value.shape)
    return out, lse.view(-1, *feat.shape[2:]), attention


def grouped_backward(
    grad: Tensor, value: Tensor, feat: Tensor, weight: Tensor, lse: Tensor, delta: Tensor,
    attention: Tensor | None, collect: bool, mask: tuple[int, int], weight_grad: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """(dvalue, dfeat); adds to weight_grad (Mh * Mw, C). The attention is computed again if None.

    delta: sum over channels of grad * out.
    """
    groups = groups_of(feat, mask, -(-feat.shape[2] // BACKWARD_GROUPS))
    window, tokens = Window(weight, mask, groups), pack_tokens(feat, groups)
    lse, delta = lse.flatten(1), delta.flatten(1)
    if attention is None:
        attention = _attention(_band(feat, window, groups), lse, groups, collect, value.dtype)
    query, key = (grad, value) if collect else (value, grad)
    query, key = query.flatten(2), key.flatten(2)
    dattention = torch.bmm(query.transpose(1, 2), key)
    if collect:
        dvalue = torch.bmm(query, attention)
    else:
        dvalue = torch.bmm(key, attention.transpose(1, 2))
    if triton_psa.use_triton(attention):
        dband = triton_psa.softmax_backward_unskew(attention, dattention, delta, groups, collect)
    else:
        dlogits = (dattention - delta.unsqueeze(2 if collect else 1)) * attention
        dband = unskew(dlogits.to(feat.dtype), groups)
    dfeat = unpack_tokens(torch.bmm(dband, window.matrices()), groups)
    window.gradient(torch.bmm(dband.transpose(1, 2), tokens), weight_grad)
    return dvalue.view(value.shape), dfeat


def images_at_once(feat: Tensor, mask: tuple[int, int]) -> int:
    """How many images fit in the budget; 0 where one alone does not."""
    groups = groups_of(feat[:1], mask, -(-feat.shape[2] // BACKWARD_GROUPS))
    g, rows, pitch = groups.band_shape
    held = (g * rows * pitch + groups.pixels**2) * feat.element_size()
    return CHUNK_BYTES // held


def groups_of(feat: Tensor, mask: tuple[int, int], kb: int) -> Groups:
    """The geometry; with all columns, in or out of the mask, where the plain steps run."""
    n, _, h, w = feat.shape
    if triton_psa.use_triton(feat):
        columns = Reach(w, mask[1])
        return Groups(n, h, w, kb, columns.before, columns.after)
    return Groups(n, h, w, kb, w - 1, w - 1)


def _band(feat: Tensor, window: Window, groups: Groups) -> Tensor:
    return torch.bmm(pack_tokens(feat, groups), window.matrices().transpose(1, 2))


def _attention(
    band: Tensor, lse: Tensor, groups: Groups, collect: bool, dtype: torch.dtype
) -> Tensor:
    if triton_psa.use_triton(band):
        return triton_psa.skew_exp(band, lse, groups, collect, dtype)
    return _exp(skew(band, groups).to(lse.dtype), lse, collect).to(dtype)


def _exp(logits: Tensor, lse: Tensor, collect: bool) -> Tensor:
    return torch.exp(logits - lse.unsqueeze(2 if collect else 1))


def _statistics(feat: Tensor) -> torch.dtype:
    return torch.promote_types(feat.dtype, torch.float32)
