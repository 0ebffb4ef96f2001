"""Backward pass of windowed attention, by patches of own pixels in both directions.

Call one of value and grad_out the query, cropped to the patch, and the other the key, over others:

    collect     query = grad_out, key = value
    distribute  query = value,    key = grad_out

With P the attention, L the logits and D = sum over channels of grad_out * out:

    dP = query^T key,   dL = P (dP - D),  lse and D at the pixel the softmax belongs to
    collect     dvalue += query P       others of the patch, added up over patches
    distribute  dvalue  = key P^T       own pixels of the patch, complete

P is recomputed as exp(L - lse) or read back. Truncated masks: a pair out of reach has
P = exp(-lse), whatever the other pixel of the pair, so P - exp(-lse) takes the place of P within
reach, and what all pairs add, a sum over pixels of exp(-lse) grad_out, is common to the patch.

Shapes: value, grad_out, out (N, Cv, H, W); lse, D (N, H, W); P, dP, dL (N, own, other);
attention (N, H, W, H, W) or None.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from segkit.ops.gemm import matmul_nt
from segkit.ops.psa.logits import LogitsGradient
from segkit.ops.psa.patches import ALL, Patch, Patches


@dataclass
class Saved:
    """What the forward pass left behind. Without a softmax, lse and delta are not read."""

    collect: bool
    softmax: bool
    lse: Tensor
    delta: Tensor  # D
    attention: Tensor | None

    def at(self, maps: Tensor, patch: Patch) -> Tensor:
        """(N, H, W) at the pixels the softmax belongs to: (N, own, 1) or (N, 1, other)."""
        if self.collect:
            return maps[patch.own].flatten(1)[:, :, None]
        return maps[ALL + patch.other].flatten(1)[:, None, :]

    def weights(self, patch: Patch) -> Tensor:
        """P (N, own, other), or the logits without a softmax; fresh."""
        if self.attention is not None:
            kept = self.attention[patch.own + patch.other]
            return kept.to(self.lse.dtype, copy=True).flatten(3, 4).flatten(1, 2)
        logits = patch.logits(self.lse.dtype)
        return logits.sub_(self.at(self.lse, patch)).exp_() if self.softmax else logits


class ValueGradient:
    """dvalue, summed in the dtype of the statistics."""

    def __init__(self, grad_out: Tensor, saved: Saved, pixels: int) -> None:
        self.saved, self.pixels = saved, pixels
        self.total = torch.zeros_like(grad_out, dtype=saved.lse.dtype)
        self.common = self.total.new_zeros(grad_out.shape[:2])
        if saved.softmax and not saved.collect:
            floor = torch.exp(-saved.lse)
            self.common = (grad_out * floor[:, None]).sum((2, 3))

    def add(self, patch: Patch, query: Tensor, key: Tensor, weights: Tensor) -> None:
        """query (N, Cv, own), key (N, Cv, other), weights (N, own, other), changed in place."""
        missing = self.saved.softmax and weights.shape[2] < self.pixels
        if missing:
            floor = torch.exp(-self.saved.at(self.saved.lse, patch))
            weights.sub_(floor)
        weights = weights.to(query.dtype)
        if self.saved.collect:
            target = self.total[ALL * 2 + patch.other]
            target += matmul_nt(query, weights.transpose(1, 2)).view(target.shape)
            if missing:
                self.common += (query * floor.transpose(1, 2)).sum(2)
        else:
            target = self.total[patch.own_map]
            target.copy_(matmul_nt(key, weights).view(target.shape))
            if missing:
                target += self.common[:, :, None, None]

    def finish(self) -> Tensor:
        return self.total.add_(self.common[:, :, None, None]) if self.saved.collect else self.total


def attention_backward(
    grad_out: Tensor, value: Tensor, patches: Patches, saved: Saved
) -> tuple[Tensor, Tensor, Tensor]:
    """(dvalue (N, Cv, H, W), dfeat (N, C, H, W), dweight (Mh * Mw, C))."""
    query, key = (grad_out, value) if saved.collect else (value, grad_out)
    dvalue = ValueGradient(grad_out, saved, patches.pixels)
    dlogits = LogitsGradient(patches)
    for column, column_patches in patches.column_passes(weight_grad=dlogits.weight):
        keys = key[..., column.other].contiguous()
        for patch in column_patches:
            own = query[patch.own_map].flatten(2)
            seen = keys[:, :, patch.row.other].flatten(2)
            weights = saved.weights(patch)
            grad = matmul_nt(own.transpose(1, 2), seen.transpose(1, 2)).to(weights.dtype)
            if saved.softmax:
                grad.sub_(saved.at(saved.delta, patch)).mul_(weights)
            dlogits.add(patch, grad)
            dvalue.add(patch, own, seen, weights)
    return dvalue.finish().to(value.dtype), *dlogits.finish()
