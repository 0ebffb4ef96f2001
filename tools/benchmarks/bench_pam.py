"""DANet's position attention: chunks of queries (or a fused kernel) against the written-out form.

One image, 64 channels of queries and keys, 512 of values. Memory is what the call needs beside
them. The last columns hold the largest error against float64, relative to the largest value.

    python tools/benchmarks/bench_pam.py [--device cuda] [--dtype bfloat16] [--repeats 5] [--csv]
"""

import argparse
from collections.abc import Callable

import torch
from harness import interleaved, peak_memory, run
from torch import Tensor

from segkit.models.decode_heads.pixel_attention import pixel_attention

SIZES = {'64x64': 4096, '64x128': 8192, '97x97': 9409}
CHANNELS = (64, 64, 512)


def make_inputs(pixels: int, device: str, dtype: str, grad: bool) -> list[Tensor]:
    """Queries, keys (1, 64, L) and values (1, 512, L)."""
    torch.manual_seed(0)
    tensors = [torch.randn(1, c, pixels) * (0.5 if c == 64 else 1) for c in CHANNELS]
    return [t.to(device, getattr(torch, dtype)).requires_grad_(grad) for t in tensors]


def written_out(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(Q^T K) V with the L x L matrix in memory."""
    weights = (query.transpose(1, 2) @ key).softmax(dim=-1)
    return (weights @ value.transpose(1, 2)).transpose(1, 2)


FORMS = {'written out': written_out, 'segkit': pixel_attention}


def call_of(form: str, inputs: list[Tensor], backward: bool) -> Callable[[], Tensor]:
    """Forward, or forward and backward, of one form."""
    function, upstream = FORMS[form], torch.ones_like(inputs[2])

    def call() -> Tensor:
        out = function(*inputs)
        if backward:
            out.backward(upstream)
        return out

    return call


def prepare(form: str, pixels: int, backward: bool, device: str, dtype: str) -> Callable:
    """The call that ``peak_memory`` measures, once warm on something small."""
    call_of(form, make_inputs(64, device, dtype, backward), backward)()
    return call_of(form, make_inputs(pixels, device, dtype, backward), backward)


def largest_error(form: str, device: str, dtype: str) -> float:
    """Of the output at 64x64 against float64."""
    inputs = make_inputs(4096, device, dtype, grad=False)
    exact = written_out(*(x.double() for x in inputs))
    return float((FORMS[form](*inputs).double() - exact).abs().max() / exact.abs().max())


def measure(size: str, backward: bool, args: argparse.Namespace) -> dict:
    """One row of the table."""
    case = {
        'pixels': SIZES[size],
        'backward': backward,
        'device': args.device,
        'dtype': args.dtype,
    }
    calls = {form: prepare(form, **case) for form in FORMS}
    seconds = interleaved(calls, args.repeats, device=args.device)
    mib = {form: peak_memory(__file__, 'prepare', form=form, **case) for form in FORMS}
    old, new = FORMS
    return {
        'map': size,
        'pass': 'forward + backward' if backward else 'forward',
        'dtype': args.dtype,
        'written out ms': round(1e3 * seconds[old], 1),
        'segkit ms': round(1e3 * seconds[new], 1),
        'speed-up': round(seconds[old] / seconds[new], 2),
        'written out MiB': round(mib[old], 1),
        'segkit MiB': round(mib[new], 1),
        'memory ratio': round(mib[new] / mib[old], 3),
        'written out error': f'{largest_error(old, args.device, args.dtype):.1e}',
        'segkit error': f'{largest_error(new, args.device, args.dtype):.1e}',
    }


def rows(args: argparse.Namespace) -> list[dict]:
    return [measure(size, backward, args) for size in SIZES for backward in (False, True)]


if __name__ == '__main__':
    run(__doc__, {'pam_{device}_{dtype}': rows})
