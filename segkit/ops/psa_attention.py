"""Point-wise spatial attention without the over-complete map.

PSANet (Zhao et al., ECCV 2018, section 3.2). A pixel ``own`` predicts, from its feature, a logit
for every pixel ``other`` in a window around it: L[own, other] = <weight[offset], feat[own]>, and 0
where the offset falls outside the window. Two directions use the same logits:

    collect     P = softmax of L over other
                out[own] = sum over other of P[own, other] value[other]
    distribute  P = softmax of L over own
                out[other] = sum over own of P[own, other] value[own]

A pair outside the window keeps its place in the softmax with a logit of 0: it counts exp(0), not
exp(-inf). Published weights depend on it.
"""

from collections.abc import Sequence

from torch import Tensor

from segkit.ops.psa.composite import composite_attention, composite_logits
from segkit.ops.psa.window import parse_mask_size, parse_psa_type

BACKENDS = ('auto', 'windowed', 'composite')


def psa_attention(
    value: Tensor,
    feat: Tensor,
    weight: Tensor,
    psa_type: str | int,
    mask_size: int | Sequence[int],
    *,
    softmax: bool = True,
    scale: float = 1.0,
    save_attention: bool = False,
    backend: str = 'auto',
) -> Tensor:
    """One branch of PSANet: window logits, mask, softmax and aggregation.

    Args:
        value: (N, Cv, H, W), what is aggregated.
        feat: (N, C, H, W), what predicts the attention.
        weight: (Mh * Mw, C) or (Mh * Mw, C, 1, 1), that of the 1x1 convolution without bias.
        psa_type: 'collect' or 'distribute'.
        mask_size: (Mh, Mw).
        softmax: False aggregates with the raw logits, 0 outside the mask.
        scale: factor of the output (PSAHead: 1 / normalization_factor).
        save_attention: keep the attention (N, HW, HW) for the backward pass instead of
            recomputing it: faster training for more memory.
        backend: 'windowed' computes patch by patch and is differentiable once; 'composite' is
            written-out tensor arithmetic, for export and higher derivatives; 'auto' chooses.

    Returns:
        (N, Cv, H, W).
    """
    mask_h, mask_w = parse_mask_size(mask_size)
    collect = parse_psa_type(psa_type) == 'collect'
    weight = _check(feat, weight, (mask_h, mask_w), backend)
    out = composite_attention(value, feat, weight, collect, mask_h, mask_w, softmax)
    return out if scale == 1.0 else out * scale


def psa_logits(feat: Tensor, weight: Tensor, mask_size: int | Sequence[int]) -> Tensor:
    """The logits themselves: (N, H * W own, H * W other), 0 outside the mask."""
    mask_h, mask_w = parse_mask_size(mask_size)
    weight = _check(feat, weight, (mask_h, mask_w), 'auto')
    return composite_logits(feat, weight, mask_h, mask_w)


def _check(feat: Tensor, weight: Tensor, mask: tuple[int, int], backend: str) -> Tensor:
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {BACKENDS}, got {backend!r}.')
    if weight.dim() == 4:
        weight = weight.flatten(1)
    if weight.shape != (mask[0] * mask[1], feat.shape[1]):
        raise ValueError(
            f'psa_attention: mask_size {mask} and {feat.shape[1]} feature channels need a weight '
            f'of shape {(mask[0] * mask[1], feat.shape[1])}, got {tuple(weight.shape)}.'
        )
    return weight
