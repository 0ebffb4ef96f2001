"""The memory-bound steps of windowed attention as one kernel each, in Triton.

    skew + softmax                band -> attention and the logarithm of its denominator
    skew + exp                    band -> attention again, in the backward pass
    softmax backward + unskew     attention and its gradient -> gradient of the band

A *band* is the product of features with a slice of the window, laid out as psa_grouped.py says. In
plain torch each step takes three to five passes over memory; here it is one read and one write.
Statistics are float32 for float16, bfloat16 and float32 input.

Checked on CPU by Triton's interpreter (TRITON_INTERPRET=1) and by compiling for sm_80 and sm_90.
SEGKIT_TRITON=0 keeps these kernels out.
"""

import importlib.util
import os
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from segkit.ops.psa_grouped import Groups

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
# Found, not imported: that takes a second. The CPU build of PyTorch comes without Triton.
HAS_TRITON = importlib.util.find_spec('triton') is not None and (
    INTERPRETED or torch.version.cuda is not None
)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
# A row of at most this many pairs stays in registers: 8 warps hold it without spills.
MOST_IN_REGISTERS = 8192
LOOP_BLOCK = 4096
WARPS = 8
# Own x other pixels that a program of the column kernel reads at once: 16 elements of 2 bytes are a
# sector, and a narrow tile makes enough programs for a whole GPU.
COLUMN_TILE = (256, 16)
UNSKEW_BLOCK = 1024


@lru_cache(maxsize=1)
def _kernels() -> ModuleType:
    return importlib.import_module('segkit.ops.triton_kernels')


def use_triton(tensor: Tensor) -> bool:
    """True where these kernels run on this tensor."""
    on_device = tensor.is_cuda or (INTERPRETED and tensor.device.type == 'cpu')
    wanted = os.environ.get('SEGKIT_TRITON', 'auto') != '0'
    return HAS_TRITON and wanted and on_device and tensor.dtype in DTYPES


def skew_softmax(
    band: Tensor, groups: Groups, collect: bool, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax over the others of each own pixel (collect) or the owns of each other (distribute).

    Args:
        band: ``groups.band_shape``, contiguous.
        dtype: of the attention; that of the band unless given.

    Returns:
        attention: (N, HW own, HW other).
        lse: (N, HW), float32, the logarithm of the denominator of each own or other pixel.
    """
    attention, lse = _attention_like(band, groups, dtype), _statistics_like(band, groups)
    if collect:
        whole = _power_of_2(groups.pixels)
        held = whole <= MOST_IN_REGISTERS
        _launch(
            _kernels().softmax_rows, (groups.n * groups.pixels,),
            band, attention, lse, *_layout(band, groups),
            BLOCK=whole if held else LOOP_BLOCK, WHOLE=held, num_warps=WARPS,
        )  # fmt: skip
    else:
        rows, columns = COLUMN_TILE
        _launch(
            _kernels().softmax_columns, (_blocks(groups.pixels, columns), groups.n),
            band, attention, lse, *_layout(band, groups),
            ROWS=rows, COLUMNS=columns, num_warps=WARPS,
        )  # fmt: skip
    return attention, lse


def skew_exp(
    band: Tensor, lse: Tensor, groups: Groups, collect: bool, dtype: torch.dtype | None = None
) -> Tensor:
    """The attention (N, HW own, HW other) again, from the lse (N, HW), float32, of its softmax."""
    attention = _attention_like(band, groups, dtype)
    block = min(_power_of_2(groups.pixels), LOOP_BLOCK)
    _launch(
        _kernels().exp_rows, (groups.n * groups.pixels, _blocks(groups.pixels, block)),
        band, lse.contiguous(), attention, *_layout(band, groups),
        COLLECT=collect, BLOCK=block, num_warps=WARPS,
    )  # fmt: skip
    return attention


def softmax_backward_unskew(
    attention: Tensor, grad: Tensor, delta: Tensor, groups: Groups, collect: bool
) -> Tensor:
    """Gradient of the band: attention * (grad - delta), each at its window place, 0 elsewhere.

    Args:
        attention, grad: (N, HW own, HW other); grad is that of the attention.
        delta: (N, HW), float32, the sum over the softmax of attention * grad, equally the sum over
            channels of the output times its gradient.

    Returns:
        ``groups.band_shape``, in the dtype of the attention, every element written.
    """
    band = attention.new_empty(groups.band_shape)
    rows, pitch = groups.band_shape[0] * groups.band_shape[1], groups.band_shape[2]
    _launch(
        _kernels().backward_rows, (rows, _blocks(pitch, UNSKEW_BLOCK)),
        attention.contiguous(), grad.contiguous(), delta.contiguous(), band,
        *_layout(band, groups), COLLECT=collect, BLOCK=UNSKEW_BLOCK, num_warps=4,
    )  # fmt: skip
    return band


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """On the device of the first argument, a tensor: Triton itself takes the current device."""
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **constants)


def _layout(band: Tensor, groups: Groups) -> tuple[int, ...]:
    if tuple(band.shape) != groups.band_shape or not band.is_contiguous():
        raise ValueError(
            f'a band of these groups is contiguous, of shape {groups.band_shape}; got '
            f'{tuple(band.shape)} with strides {band.stride()}.'
        )
    size = (groups.n, groups.h, groups.w, groups.kb)
    return *size, groups.p * groups.q, groups.q, groups.before, groups.after


def _attention_like(band: Tensor, groups: Groups, dtype: torch.dtype | None) -> Tensor:
    return band.new_empty(groups.n, groups.pixels, groups.pixels, dtype=dtype or band.dtype)


def _statistics_like(band: Tensor, groups: Groups) -> Tensor:
    return band.new_empty(groups.n, groups.pixels, dtype=torch.float32)


def _power_of_2(count: int) -> int:
    """The smallest one that is not below count."""
    return 1 << (count - 1).bit_length()


def _blocks(count: int, block: int) -> int:
    return -(-count // block)
