"""All logits by patches, and the gradient of logits carried to features and weight.

Shapes: pairs (N, H, W own, H, W other); features as tokens (N, H, W, C); weight (Mh * Mw, C).
"""

import torch
from torch import Tensor

from segkit.ops.gemm import matmul_nt
from segkit.ops.psa.band import BandGradient
from segkit.ops.psa.patches import Patch, Patches


def all_logits(patches: Patches) -> Tensor:
    """(N, H, W, H, W), 0 outside the mask."""
    n, h, w = patches.size
    pairs = patches.tokens.new_zeros(n, h, w, h, w)
    for _, column_patches in patches.column_passes():
        for patch in column_patches:
            pairs[patch.own + patch.other] = patch.pairs()
    return pairs


def logits_backward(grad: Tensor, patches: Patches) -> tuple[Tensor, Tensor]:
    """Gradient (N, H, W, H, W) of all logits -> (dfeat (N, C, H, W), dweight (Mh * Mw, C))."""
    dlogits = LogitsGradient(patches)
    for _, column_patches in patches.column_passes(weight_grad=dlogits.weight):
        for patch in column_patches:
            part = grad[patch.own + patch.other]
            dlogits.add(patch, part.flatten(3, 4).flatten(1, 2))
    return dlogits.finish()


class LogitsGradient:
    """Collects what the gradients of the logits of all patches add to features and weight."""

    def __init__(self, patches: Patches) -> None:
        self.dtype = patches.tokens.dtype
        self.tokens = torch.zeros_like(patches.tokens)
        self.weight = patches.tokens.new_zeros(patches.weight_shape, dtype=patches.statistics)
        self.bands = BandGradient()

    def add(self, patch: Patch, grad: Tensor) -> None:
        """grad (N, own, other). Writes the patch's features, adds to ``patch.matrix_grad``."""
        band = self.bands.unskew(grad, patch.row, patch.column, self.dtype)
        target = self.tokens[patch.own]
        parts = [matmul_nt(band, run.t()) for run in patch.matrix]
        target.copy_(torch.cat(parts, dim=1).view(target.shape))
        assert patch.matrix_grad is not None, 'a pass with weight_grad gives one to every patch'
        for grad_of_run, run in zip(patch.matrix_grad, patch.tokens):
            grad_of_run.add_(matmul_nt(band.t(), run.t()))

    def finish(self) -> tuple[Tensor, Tensor]:
        """(dfeat (N, C, H, W), dweight (Mh * Mw, C))."""
        feat = self.tokens.permute(0, 3, 1, 2).contiguous()
        return feat, self.weight.to(self.dtype)
