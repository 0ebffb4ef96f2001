"""Windowed attention as torch.library operators: one opaque node each for compile and export.

Schemas hold tensors, ints and bools only. ``attention`` is (N, HW, HW) if saved, else empty; lse
is (N, H, W). Second derivatives are refused here: the composite form has them.
"""

from typing import Any

import torch
from torch import Tensor

from segkit.ops.gemm import sum_of_channel_products
from segkit.ops.psa import grouped_passes as grouped
from segkit.ops.psa.backward import Saved, attention_backward
from segkit.ops.psa.forward import Result, collect_forward, distribute_forward
from segkit.ops.psa.logits import all_logits, logits_backward
from segkit.ops.psa.patches import Patches

Tensors3 = tuple[Tensor, Tensor, Tensor]


@torch.library.custom_op('segkit::psa_attention', mutates_args=())
def windowed_attention(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask_h: int, mask_w: int,
    softmax: bool, save: bool,
) -> Tensors3:  # fmt: skip
    """(out, lse, attention)."""
    if grouped.use_grouped(feat, (mask_h, mask_w), softmax):
        return grouped.forward_in_turns(value, feat, weight, collect, (mask_h, mask_w), save)
    patches = Patches(feat, weight, (mask_h, mask_w))
    n, h, w = patches.size
    out = value.new_empty(value.shape)
    lse = value.new_zeros(n, h, w, dtype=patches.statistics)
    attention = value.new_zeros((n, h, w, h, w) if save else (0,))
    one_way = collect_forward if collect else distribute_forward
    one_way(value, patches, softmax, Result(out, lse, attention if save else None))
    return out, lse, attention.view(n, h * w, h * w) if save else attention


@torch.library.custom_op('segkit::psa_attention_backward', mutates_args=())
def windowed_attention_backward(
    grad: Tensor, value: Tensor, feat: Tensor, weight: Tensor, out: Tensor, lse: Tensor,
    attention: Tensor, collect: bool, mask_h: int, mask_w: int, softmax: bool,
) -> Tensors3:  # fmt: skip
    """Gradients of value, feat and weight."""
    if grouped.use_grouped(feat, (mask_h, mask_w), softmax):
        kept = attention if attention.dim() == 3 else None
        mask = (mask_h, mask_w)
        return grouped.backward_in_turns(grad, value, feat, weight, out, lse, kept, collect, mask)
    n, _, h, w = value.shape
    kept = attention.view(n, h, w, h, w) if attention.dim() == 3 else None
    delta = sum_of_channel_products(grad, out, lse.dtype)
    saved = Saved(collect, softmax, lse, delta, kept)
    return attention_backward(grad, value, Patches(feat, weight, (mask_h, mask_w)), saved)


@torch.library.custom_op('segkit::psa_logits', mutates_args=())
def windowed_logits(feat: Tensor, weight: Tensor, mask_h: int, mask_w: int) -> Tensor:
    """(N, HW own, HW other)."""
    pairs = all_logits(Patches(feat, weight, (mask_h, mask_w)))
    return pairs.flatten(3, 4).flatten(1, 2)


@torch.library.custom_op('segkit::psa_logits_backward', mutates_args=())
def windowed_logits_backward(
    grad: Tensor, feat: Tensor, weight: Tensor, mask_h: int, mask_w: int
) -> tuple[Tensor, Tensor]:
    """Gradients of feat and weight."""
    n, _, h, w = feat.shape
    return logits_backward(grad.reshape(n, h, w, h, w), Patches(feat, weight, (mask_h, mask_w)))


@windowed_attention.register_fake
def _(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask_h: int, mask_w: int,
    softmax: bool, save: bool,
) -> Tensors3:  # fmt: skip
    n, _, h, w = value.shape
    statistics = torch.promote_types(value.dtype, torch.float32)
    attention = value.new_empty((n, h * w, h * w) if save else (0,))
    return value.new_empty(value.shape), value.new_empty(n, h, w, dtype=statistics), attention


@windowed_attention_backward.register_fake
def _(
    grad: Tensor, value: Tensor, feat: Tensor, weight: Tensor, out: Tensor, lse: Tensor,
    attention: Tensor, collect: bool, mask_h: int, mask_w: int, softmax: bool,
) -> Tensors3:  # fmt: skip
    return value.new_empty(value.shape), feat.new_empty(feat.shape), weight.new_empty(weight.shape)


@windowed_logits.register_fake
def _(feat: Tensor, weight: Tensor, mask_h: int, mask_w: int) -> Tensor:
    n, _, h, w = feat.shape
    return feat.new_empty(n, h * w, h * w)


@windowed_logits_backward.register_fake
def _(
    grad: Tensor, feat: Tensor, weight: Tensor, mask_h: int, mask_w: int
) -> tuple[Tensor, Tensor]:
    return feat.new_empty(feat.shape), weight.new_empty(weight.shape)


def _save_attention(ctx: Any, inputs: tuple, output: Tensors3) -> None:
    value, feat, weight, *ctx.flags, _ = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(value, feat, weight, *output)


def _grad_attention(ctx: Any, grad: Tensor, *_: Tensor) -> tuple:
    grads = windowed_attention_backward(grad, *ctx.saved_tensors, *ctx.flags)
    return *grads, *(None,) * 5


def _save_logits(ctx: Any, inputs: tuple, output: Tensor) -> None:
    feat, weight, *ctx.mask = inputs
    ctx.save_for_backward(feat, weight)


def _grad_logits(ctx: Any, grad: Tensor) -> tuple:
    return *windowed_logits_backward(grad, *ctx.saved_tensors, *ctx.mask), None, None


def _refuse(ctx: Any, *_: object) -> None:
    raise RuntimeError(
        'The windowed PSA backend is differentiable once. For second derivatives call '
        "psa_attention(..., backend='composite')."
    )


windowed_attention.register_autograd(_grad_attention, setup_context=_save_attention)
windowed_logits.register_autograd(_grad_logits, setup_context=_save_logits)
windowed_attention_backward.register_autograd(_refuse)
windowed_logits_backward.register_autograd(_refuse)
