"""softmax(Q^T K) V over pixels without keeping the L x L matrix.

At 97x97 that matrix takes 354 MB an image. A chunk of queries at a time goes through the
written-out formula, in small buffers on a CPU and in few large ones on any other device; the
backward recomputes each chunk from the saved log of the softmax's sum (as flash attention does,
arXiv:2205.14135), so only inputs and output are kept. On CUDA a fused kernel does the same where
one accepts the channel counts.

Legend: query, key (N, D, L), value (N, C, L) for L pixels; one chunk of scores (N, T, L).
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from segkit.ops.autograd_context import Context
from segkit.ops.channel_products import sum_of_channel_products

CHUNK = 256  # queries at once on a CPU
DEVICE_BYTES = 2**30  # three maps of scores at once on any other device


def _work_dtype(x: Tensor) -> torch.dtype:
    """What the softmax is computed in: float32 at least."""
    return torch.promote_types(x.dtype, torch.float32)


def _parts(query: Tensor) -> list[slice]:
    """The queries (N, D, L) in chunks that fit the device."""
    count, pixels = query.shape[0], query.shape[2]
    chunk = CHUNK
    if query.device.type != 'cpu':
        row = 3 * count * pixels * _work_dtype(query).itemsize
        chunk = max(chunk, DEVICE_BYTES // max(row, 1))
    return [slice(first, first + chunk) for first in range(0, pixels, chunk)]


def _forward_chunks(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Context (N, C, L) and log-sum-exp of the scores (N, L)."""
    out = torch.empty_like(value)
    logs = query.new_empty((query.shape[0], query.shape[2]), dtype=_work_dtype(query))
    rows = value.transpose(1, 2)
    for part in _parts(query):
        score = (query[:, :, part].transpose(1, 2) @ key).to(logs.dtype)  # (N, T, L)
        top = score.amax(-1, keepdim=True)
        weight = score.sub_(top).exp_()
        total = weight.sum(-1, keepdim=True)
        logs[:, part] = (total.log() + top).squeeze(-1)
        context = weight.to(value.dtype) @ rows  # (N, T, C)
        out[:, :, part] = (context / total.to(value.dtype)).transpose(1, 2)
    return out, logs


class _ChunkedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out, logs = _forward_chunks(query, key, value)
        ctx.save_for_backward(query, key, value, out, logs)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, grad: Tensor) -> tuple[Tensor, ...]:
        query, key, value, out, logs = ctx.saved_tensors
        grads = [torch.zeros_like(x, dtype=logs.dtype) for x in (key, value)]
        d_query, (d_key, d_value) = torch.empty_like(query), grads
        mean = sum_of_channel_products(grad, out, logs.dtype)  # (N, L): expectation of d_weight
        for part in _parts(query):
            own, above = query[:, :, part], grad[:, :, part]  # (N, D, T), (N, C, T)
            weight = (own.transpose(1, 2) @ key).to(logs.dtype)
            weight.sub_(logs[:, part, None]).exp_()
            d_value += above @ weight.to(grad.dtype)
            d_score = (above.transpose(1, 2) @ value).to(logs.dtype)  # (N, T, L)
            d_score = d_score.sub_(mean[:, part, None]).mul_(weight).to(query.dtype)
            d_query[:, :, part] = key @ d_score.transpose(1, 2)
            d_key += own @ d_score
        return d_query, d_key.to(key.dtype), d_value.to(value.dtype)


def _tokens(x: Tensor) -> Tensor:
    """(N, C, L) as (N, 1, L, C).

    Fused kernels want the channels of a pixel side by side, which NCHW maps do not give them. A
    CPU has no such kernel for values of other channels than the keys: there the copy only costs.
    """
    tokens = x.transpose(1, 2).unsqueeze(1)
    return tokens.contiguous() if x.is_cuda else tokens


def _fused(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether a fused CUDA kernel takes these tokens (N, 1, L, channels)."""
    if not query.is_cuda:
        return False
    params = torch.backends.cuda.SDPAParams(query, key, value, None, 0.0, False, False)
    return torch.backends.cuda.can_use_efficient_attention(params)


def pixel_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Context (N, C, L): for each pixel the values averaged by softmax(<query, key>), unscaled.

    First derivatives only on the chunked path (a CPU, or CUDA without a kernel for the channels);
    under export it is one ``scaled_dot_product_attention``, with any number of pixels.
    """
    if torch.is_autocast_enabled(query.device.type):
        dtype = torch.get_autocast_dtype(query.device.type)
        query, key, value = (x.to(dtype) for x in (query, key, value))
    q, k, v = (_tokens(x) for x in (query, key, value))
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or _fused(q, k, v):
        context = F.scaled_dot_product_attention(q, k, v, scale=1.0)
        return context.squeeze(1).transpose(1, 2)
    del q, k, v
    with torch.autocast(query.device.type, enabled=False):
        return _ChunkedAttention.apply(query, key, value)
