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

The written-out form (``composite_attention`` below) multiplies every feature with the whole weight,
though three quarters of those logits fall off the map; it serves export, ONNX, dynamic shapes and
higher derivatives, and as the reference. What runs otherwise lets a patch of own pixels meet only
the offsets it can use (segkit/ops/psa_softmax.py): neither that map nor, in collect, the attention
is ever held.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.ops.psa_softmax import windowed_attention, windowed_logits
from segkit.ops.psa_window import parse_mask_size, parse_psa_type

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
    """One direction of PSANet: window logits, mask, softmax and aggregation.

    Under autocast the products run in its dtype; softmax statistics and sums over patches are
    float32 always.

    Args:
        value: (N, Cv, H, W), what is aggregated.
        feat: (N, C, H, W), what predicts the attention.
        weight: (Mh * Mw, C) or (Mh * Mw, C, 1, 1), that of the 1x1 convolution without bias.
        psa_type: 'collect' or 'distribute' (0 and 1 as in mmcv).
        mask_size: (Mh, Mw), of any size, even ones included.
        softmax: False aggregates with the raw logits, 0 outside the mask.
        scale: factor of the output (PSAHead: 1 / normalization_factor).
        save_attention: keep the attention (N, HW, HW) for the backward pass instead of
            recomputing it: faster training for more memory.
        backend: 'windowed' works patch by patch and is differentiable once; 'composite' is
            written-out tensor arithmetic, for tracing and higher derivatives; 'auto' is composite
            while a model is exported (torch.export, ONNX, torch.jit.trace), windowed otherwise.

    Returns:
        (N, Cv, H, W), contiguous.

    Raises:
        ValueError: shapes that do not fit each other or mask_size, unknown psa_type or backend.
        TypeError: tensors of different or of integer types.
        RuntimeError: in a second derivative of the windowed backend.
    """
    mask_h, mask_w = parse_mask_size(mask_size)
    collect = parse_psa_type(psa_type) == 'collect'
    value, feat, weight = _autocast(value, feat, weight.flatten(1))
    _check(feat, weight, (mask_h, mask_w), value)
    if _windowed(backend):
        trained = any(t.requires_grad for t in (value, feat, weight))
        save = save_attention and torch.is_grad_enabled() and trained
        out = windowed_attention(value, feat, weight, collect, mask_h, mask_w, softmax, save)[0]
    else:
        out = composite_attention(value, feat, weight, collect, mask_h, mask_w, softmax)
    return out if scale == 1.0 else out * scale


def psa_logits(
    feat: Tensor, weight: Tensor, mask_size: int | Sequence[int], *, backend: str = 'auto'
) -> Tensor:
    """The logits themselves: (N, H * W own, H * W other), 0 outside the mask.

    Arguments and errors as for ``psa_attention``. To look at attention: softmax over dim 2 is what
    an own pixel collects, softmax over dim 1 how the pixels distribute to an other.
    """
    mask_h, mask_w = parse_mask_size(mask_size)
    feat, weight = _autocast(feat, weight.flatten(1))
    _check(feat, weight, (mask_h, mask_w))
    logits = windowed_logits if _windowed(backend) else composite_logits
    return logits(feat, weight, mask_h, mask_w)


def composite_logits(feat: Tensor, weight: Tensor, mask_h: int, mask_w: int) -> Tensor:
    """(N, H * W own, H * W other); pairs outside the mask are 0."""
    n, _, h, w = feat.shape
    windows = F.conv2d(feat, weight[:, :, None, None]).view(n, mask_h, mask_w, h, w)
    y = torch.arange(h, device=feat.device)
    x = torch.arange(w, device=feat.device)
    rows = (y[None, :] - y[:, None] + (mask_h - 1) // 2)[:, None, :, None]  # (own, other)
    columns = (x[None, :] - x[:, None] + (mask_w - 1) // 2)[None, :, None, :]
    inside = (rows >= 0) & (rows < mask_h) & (columns >= 0) & (columns < mask_w)
    rows, columns = rows.clamp(0, mask_h - 1), columns.clamp(0, mask_w - 1)
    pairs = windows[:, rows, columns, y[:, None, None, None], x[None, :, None, None]]
    zero = pairs.new_zeros(())
    return torch.where(inside, pairs, zero).reshape(n, h * w, h * w)


def composite_attention(
    value: Tensor, feat: Tensor, weight: Tensor, collect: bool, mask_h: int, mask_w: int,
    softmax: bool,
) -> Tensor:  # fmt: skip
    """(N, Cv, H, W). Rows of ``pairs`` are what the softmax and the sum run over."""
    pairs = composite_logits(feat, weight, mask_h, mask_w)
    if not collect:  # torch's softmax along a strided axis loses two digits on large maps
        pairs = pairs.transpose(1, 2).contiguous()
    if softmax:
        statistics = torch.promote_types(pairs.dtype, torch.float32)
        pairs = pairs.softmax(dim=2, dtype=statistics).to(value.dtype)
    out = torch.matmul(value.flatten(2), pairs.transpose(1, 2))
    return out.view(value.shape[0], value.shape[1], *feat.shape[2:])


class PointwiseSpatialAttention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): what every pixel collects from, or is sent by, the others.

    A pixel predicts its attention from its own feature by two 1x1 convolutions (PSANet, Zhao et
    al., ECCV 2018, section 3.2); the second, with an output for each offset of the window, is never
    evaluated in full (``psa_attention``).

    Args:
        channels: C.
        mask_size: window (Mh, Mw) a pixel reaches; 2H - 1 and 2W - 1 reach all of the map.
        psa_type: 'collect' or 'distribute'.
        softmax: False aggregates with the raw logits.
    """

    def __init__(
        self,
        channels: int,
        mask_size: int | Sequence[int],
        psa_type: str = 'collect',
        softmax: bool = True,
    ) -> None:
        super().__init__()
        self.mask_size = parse_mask_size(mask_size)
        self.psa_type, self.softmax = parse_psa_type(psa_type), softmax
        self.feature = nn.Conv2d(channels, channels, 1)
        self.offsets = nn.Conv2d(channels, self.mask_size[0] * self.mask_size[1], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        feature = F.relu(self.feature(x))
        return psa_attention(
            x, feature, self.offsets.weight, self.psa_type, self.mask_size, softmax=self.softmax
        )

    def extra_repr(self) -> str:
        return f'psa_type={self.psa_type!r}, mask_size={self.mask_size}'


def _windowed(backend: str) -> bool:
    if backend not in BACKENDS:
        raise ValueError(f'backend must be one of {BACKENDS}, got {backend!r}.')
    exporting = (
        torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()
    )
    return backend == 'windowed' or (backend == 'auto' and not exporting)


def _autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors in the autocast dtype if there is one; float64 stays, as in torch's own rules."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(t if t.dtype == torch.float64 else t.to(dtype) for t in tensors)


def _check(
    feat: Tensor, weight: Tensor, mask: tuple[int, int], value: Tensor | None = None
) -> None:
    maps = [feat] if value is None else [value, feat]
    first = maps[0].shape
    if any(t.dim() != 4 or t.shape[0] != first[0] or t.shape[2:] != first[2:] for t in maps):
        shapes = ' and '.join(str(tuple(t.shape)) for t in maps)
        raise ValueError(f'value and feat must be (N, C, H, W) of one N, H and W, got {shapes}.')
    wanted = (mask[0] * mask[1], feat.shape[1])
    if weight.shape != wanted:
        raise ValueError(
            f'mask_size {mask} and {feat.shape[1]} feature channels need a weight of shape '
            f'{wanted}, got {tuple(weight.shape)}.'
        )
    kinds = {t.dtype for t in (*maps, weight)}
    if len(kinds) > 1 or not feat.is_floating_point():
        raise TypeError(
            'value, feat and weight must share one floating-point type, got '
            f'{", ".join(sorted(map(str, kinds)))}.'
        )
