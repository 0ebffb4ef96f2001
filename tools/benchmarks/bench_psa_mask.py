"""psa_mask against the best gather in plain torch, and against copying its output.

The gather is one ``index_select`` with an int64 index that the batch shares and that is made
beforehand; its backward pass is a second one through the inverse index. Two images, float32.

    python tools/benchmarks/bench_psa_mask.py [--repeats 5] [--csv]
"""

import argparse

import torch
import torch.nn.functional as F
from harness import interleaved, run
from torch import Tensor

from segkit.ops import psa_mask

CASES = [((49, 49), 97), ((32, 64), 97), ((32, 32), 97), ((30, 30), 59)]
TYPES = ('collect', 'distribute')
IMAGES = 2


def gather_index(size: tuple[int, int], mask: int, psa_type: str) -> Tensor:
    """Place of each output element in a flat window; one past the end outside the mask."""
    count = mask * mask * size[0] * size[1]
    places = torch.arange(1, count + 1, dtype=torch.float64).view(1, mask * mask, *size)
    index = psa_mask(places, psa_type, (mask, mask)).flatten().long() - 1
    return index.where(index >= 0, count)


def inverse_index(index: Tensor, count: int) -> Tensor:
    inverse = torch.full((count + 1,), index.numel())
    inverse[index] = torch.arange(index.numel())
    return inverse[:-1]


class Gather(torch.autograd.Function):
    """The mask by one index_select each way; an index one past the end reads a zero."""

    @staticmethod
    def forward(ctx, windows: Tensor, index: Tensor, inverse: Tensor, full: bool) -> Tensor:
        ctx.shape, ctx.inverse = windows.shape, inverse
        flat = windows.flatten(1)
        return (flat if full else F.pad(flat, (0, 1))).index_select(1, index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return F.pad(grad, (0, 1)).index_select(1, ctx.inverse).view(ctx.shape), None, None, None


def measure(case: tuple, psa_type: str, repeats: int) -> dict:
    size, mask = case
    torch.manual_seed(0)
    windows = torch.randn(IMAGES, mask * mask, *size, requires_grad=True)
    index = gather_index(size, mask, psa_type)
    inverse = inverse_index(index, mask * mask * size[0] * size[1])
    full = mask + 1 >= 2 * max(size)
    forms = dict(
        gather=lambda: Gather.apply(windows, index, inverse, full),
        psa_mask=lambda: psa_mask(windows, psa_type, (mask, mask)),
    )
    grad = torch.randn_like(forms['psa_mask']())
    row = {'map': f'{size[0]}x{size[1]}', 'mask': mask, 'type': psa_type}
    forward = {name: torch.no_grad()(form) for name, form in forms.items()}
    both = {
        name: lambda form=form: torch.autograd.grad(form().view_as(grad), windows, grad)
        for name, form in forms.items()
    }
    for name, calls in (('fwd', forward), ('f+b', both)):
        seconds = interleaved(calls, repeats)
        row |= {f'{name} {form} ms': round(value * 1e3, 1) for form, value in seconds.items()}
    copy = interleaved({'copy': grad.clone}, repeats)['copy']
    return row | {'copy of output ms': round(copy * 1e3, 1)}


def rows(args: argparse.Namespace) -> list[dict]:
    return [measure(c, psa_type, args.repeats) for c in CASES for psa_type in TYPES]


if __name__ == '__main__':
    run(__doc__, {'psa_mask_{device}': rows})
