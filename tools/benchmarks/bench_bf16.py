"""The convolutions of a ResNet-50 of 512x512 pixels and its heads: float32 against bfloat16.

    python tools/benchmarks/bench_bf16.py [--csv]

What bf16 gains on a network is bounded by what its convolutions gain. Bfloat16 is in channels last,
as ``--bf16 --channels-last`` runs it. Of wide ones also what tiles (segkit/ops/winograd.py) take in
float32. Times are CPU time of one thread, the forms taking turns.
"""

import argparse

import torch
import torch.nn.functional as F
from harness import interleaved, run

from segkit.ops import wide_conv, winograd

# inputs, outputs, side of the filter, dilation: of maps of 64x64, and who has them
LAYERS = [
    (2048, 512, 3, 1, 'first of a head'),
    (512, 512, 3, 4, 'stage 4'),
    (512, 512, 3, 1, 'DANet: second of a branch'),
    (256, 256, 3, 2, 'stage 3'),
    (2048, 512, 1, 1, 'stage 4'),
    (512, 2048, 1, 1, 'stage 4'),
    (1024, 256, 1, 1, 'stage 3'),
    (256, 1024, 1, 1, 'stage 3'),
]
SIDE = 64


def layers(args: argparse.Namespace) -> list[dict]:
    return [_row(*layer, args.repeats) for layer in LAYERS]


@torch.no_grad()
def _row(inputs: int, outputs: int, taps: int, dilation: int, where: str, repeats: int) -> dict:
    torch.manual_seed(0)
    x = torch.randn(1, inputs, SIDE, SIDE).relu()
    weight = torch.randn(outputs, inputs, taps, taps) / (inputs * taps**2) ** 0.5
    small = [
        t.bfloat16().contiguous(memory_format=torch.channels_last) for t in (x, weight)
    ]  # fmt: skip
    how = dict(padding=dilation * (taps // 2), dilation=dilation)
    forms = {
        'float32': lambda: F.conv2d(x, weight, **how),
        'bf16': lambda: F.conv2d(*small, **how),
    }
    if ways := winograd.ways(x, weight, dilation):
        forms['tiles'] = lambda: wide_conv.conv2d(x, weight, None, dilation, ways)
    seconds = interleaved(forms, repeats)
    work = 2 * SIDE**2 * inputs * outputs * taps**2
    return {
        'convolution': f'{taps}x{taps} {inputs} to {outputs}',
        'dilation': dilation,
        'where': where,
        'GFLOP': f'{work / 1e9:.1f}',
        'float32 ms': f'{seconds["float32"] * 1e3:.0f}',
        'bf16 ms': f'{seconds["bf16"] * 1e3:.0f}',
        'tiles in float32 ms': f'{seconds["tiles"] * 1e3:.0f}' if 'tiles' in seconds else '',
        'times faster in bf16': f'{seconds["float32"] / seconds["bf16"]:.2f}',
        'GFLOP/s in bf16': f'{work / seconds["bf16"] / 1e9:.0f}',
    }


if __name__ == '__main__':
    run(__doc__, {'bf16_layers': layers}, repeats=3)
