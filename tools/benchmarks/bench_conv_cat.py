"""conv_cat_upsampled against upsampling, concatenating and convolving.

The bottlenecks of PSAHead (one map at half size, grown by a ring) and PSPHead (four pooled maps),
2048 identity channels, 512 out, one image. "identity" is the convolution of the identity channels
alone: what no rewriting of the rest can save.

    python tools/benchmarks/bench_conv_cat.py [--repeats 5] [--csv]
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from harness import interleaved, run
from torch import Tensor, nn

from segkit.ops import conv_cat_upsampled

IDENTITY, OUT = 2048, 512
POOLED = [(512, scale, scale) for scale in (1, 2, 3, 6)]
CASES = [  # output size, low maps (channels, h, w), align_corners
    ((97, 97), [(2048, 51, 51)], True),
    ((64, 128), [(2048, 34, 66)], False),
    ((64, 64), [(2048, 34, 34)], False),
    ((97, 97), POOLED, True),
    ((64, 128), POOLED, False),
    ((64, 64), POOLED, False),
]


def written(conv: nn.Conv2d, x: Tensor, lows: list[Tensor], size: tuple, align: bool) -> Tensor:
    wide = [F.interpolate(low, size, mode='bilinear', align_corners=align) for low in lows]
    return conv(torch.cat([x, *wide], dim=1))


def identity(conv: nn.Conv2d, x: Tensor, lows: list[Tensor], size: tuple, align: bool) -> Tensor:
    return F.conv2d(x, conv.weight[:, : x.shape[1]], conv.bias, padding=1)


def call_of(form: Callable, arguments: tuple, training: bool) -> Callable[[], object]:
    conv, x, lows, *_ = arguments
    if not training:
        return torch.no_grad()(partial(form, *arguments))

    def train() -> None:
        leaves = [x, *lows, *conv.parameters()]
        torch.autograd.grad(form(*arguments).sum(), leaves, allow_unused=True)

    return train


def measure(case: tuple, training: bool, args: argparse.Namespace) -> dict:
    size, shapes, align = case
    torch.manual_seed(0)
    where = dict(device=args.device, dtype=getattr(torch, args.dtype))
    conv = nn.Conv2d(IDENTITY + sum(s[0] for s in shapes), OUT, 3, padding=1).to(**where)
    x = torch.randn(1, IDENTITY, *size, **where, requires_grad=training)
    lows = [torch.randn(1, *shape, **where, requires_grad=training) for shape in shapes]
    forms = dict(written=written, segkit=conv_cat_upsampled, identity=identity)
    arguments = (conv, x, lows, size, align)
    calls = {name: call_of(form, arguments, training) for name, form in forms.items()}
    seconds = interleaved(calls, args.repeats, device=args.device)
    return {
        'output': f'{size[0]}x{size[1]}',
        'low maps': ' '.join(f'{h}x{w}' for _, h, w in shapes),
        'pass': 'forward + backward' if training else 'inference',
        **{f'{name} ms': round(value * 1e3, 1) for name, value in seconds.items()},
        'speed-up': round(seconds['written'] / seconds['segkit'], 2),
    }


def rows(args: argparse.Namespace) -> list[dict]:
    return [measure(case, training, args) for case in CASES for training in (False, True)]


if __name__ == '__main__':
    run(__doc__, {'conv_cat_{device}_{dtype}': rows})
