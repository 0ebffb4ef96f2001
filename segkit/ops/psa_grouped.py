"""Windowed attention for a GPU: the patches of all own rows in one batched product.

A GPU loses to launches what small patches save in arithmetic. Here own rows are taken in groups of
Kb, whole rows each, and one batched product makes the bands of all groups: group g needs the
window rows from g * Kb on, so with the window's rows reversed its matrices are one overlapping
strided view of it, which cuBLAS reads in place. Per image and direction: three products forward,
five backward, and one pass over memory (segkit/ops/triton_psa.py) between them.

Other rows are counted from below, s' = H - 1 - s, which makes window row p' = s' + k ascend with
the own row. Window columns are q = t - l + before, up to a multiple of 8 for aligned rows.

Shapes: tokens (G, Kb * N * W, C), own pixels in the order (k, n, l), rows beyond H zero;
window (G * Kb + H - 1, Q, C), zero where the mask ends; band (G, Kb * N * W, P * Q) with
P = H + Kb - 1: the logit of own (k, l) and other (s, t) is at p = H - 1 - s + k % Kb and q.
Attention (N, HW own, HW other).
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from segkit.ops.psa_window import Reach

ALIGNMENT = 8  # elements: 16 bytes in half precision


@dataclass(frozen=True)
class Groups:
    """The geometry of a band: n images of h x w, groups of kb own rows, q window columns of which
    the first before + after + 1 are used."""

    n: int
    h: int
    w: int
    kb: int
    before: int
    after: int

    @property
    def g(self) -> int:
        return -(-self.h // self.kb)

    @property
    def p(self) -> int:
        return self.h + self.kb - 1

    @property
    def q(self) -> int:
        return -(-(self.before + self.after + 1) // ALIGNMENT) * ALIGNMENT

    @property
    def pixels(self) -> int:
        return self.h * self.w

    @property
    def band_shape(self) -> tuple[int, int, int]:
        return self.g, self.kb * self.n * self.w, self.p * self.q


def pack_tokens(feat: Tensor, groups: Groups) -> Tensor:
    """(N, C, H, W) -> (G, Kb * N * W, C)."""
    n, c, h, w = feat.shape
    tokens = feat.permute(2, 0, 3, 1)
    if groups.g * groups.kb == h:
        return tokens.reshape(groups.g, -1, c)
    padded = feat.new_zeros(groups.g * groups.kb, n, w, c)
    padded[:h] = tokens
    return padded.view(groups.g, -1, c)


def unpack_tokens(tokens: Tensor, groups: Groups) -> Tensor:
    """(G, Kb * N * W, C) -> (N, C, H, W), contiguous."""
    rows = tokens.view(groups.g * groups.kb, groups.n, groups.w, -1)[: groups.h]
    return rows.permute(1, 3, 0, 2).contiguous()


def trim(weight: Tensor, rows: Reach, columns: Reach) -> Tensor:
    """(Mh * Mw, C) -> (R, Q', C), a view: the offsets that the map can reach."""
    window = weight.view(rows.mask, columns.mask, -1)
    for dim, axis in enumerate((rows, columns)):
        window = window.narrow(dim, axis.start, axis.span)
    return window


class Window:
    """The reversed, padded window of a weight (Mh * Mw, C), and the way back for its gradient."""

    def __init__(self, weight: Tensor, mask: tuple[int, int], groups: Groups) -> None:
        self.rows, self.columns = Reach(groups.h, mask[0]), Reach(groups.w, mask[1])
        self.groups, self.channels = groups, weight.shape[1]
        self.shape = (groups.g * groups.kb + groups.h - 1, groups.q, self.channels)
        self.inner = (
            slice(groups.h - 1 - self.rows.after, groups.h + self.rows.before),
            slice(groups.before - self.columns.before, groups.before + self.columns.after + 1),
        )
        self.packed = weight.new_zeros(self.shape)
        self.packed[self.inner] = trim(weight, self.rows, self.columns).flip(0)

    def matrices(self) -> Tensor:
        """(G, P * Q, C): those of all groups, overlapping; read only."""
        row = self.groups.q * self.channels
        size = (self.groups.g, self.groups.p * self.groups.q, self.channels)
        return self.packed.as_strided(size, (self.groups.kb * row, self.channels, 1))

    def gradient(self, matrices: Tensor, weight: Tensor) -> None:
        """Add the gradient (G, P * Q, C) of ``matrices`` to that of the weight (Mh * Mw, C)."""
        total = weight.new_zeros(self.shape)
        for group, part in enumerate(matrices):
            first = group * self.groups.kb
            total[first : first + self.groups.p] += part.view(self.groups.p, *self.shape[1:])
        trim(weight, self.rows, self.columns).add_(total[self.inner].flip(0))


def _pairs_of(band: Tensor, groups: Groups) -> Tensor:
    """The skewed view (N, G, Kb, W own, H others, from below, W) of a contiguous band.

    Every address lies inside the band. Those of a full window are all different.
    """
    pitch = groups.p * groups.q
    row = groups.n * groups.w * pitch
    size = (groups.n, groups.g, groups.kb, groups.w, groups.h, groups.w)
    strides = (groups.w * pitch, groups.kb * row, row + groups.q, pitch - 1, groups.q, 1)
    return band.as_strided(size, strides, groups.before)


def skew(band: Tensor, groups: Groups) -> Tensor:
    """Logits (N, HW own, HW other) of a band with a full window, in plain torch."""
    rows = _pairs_of(band, groups).flatten(1, 2)[:, : groups.h].flip(3)
    return rows.reshape(groups.n, groups.pixels, groups.pixels)


def unskew(grad: Tensor, groups: Groups) -> Tensor:
    """Its adjoint: gradient of the logits -> gradient of the band."""
    band = grad.new_zeros(groups.band_shape)
    rows = grad.view(groups.n, groups.h, groups.w, groups.h, groups.w).flip(3)
    beyond = groups.g * groups.kb - groups.h
    pairs = _pairs_of(band, groups)
    pairs.copy_(F.pad(rows, (0, 0, 0, 0, 0, 0, 0, beyond)).view(pairs.shape))
    return band
