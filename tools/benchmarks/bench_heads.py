"""PSAHead and PSPHead as a whole against their written-out forms, with the same weights.

Written out: PSA builds the over-complete map (one 1x1 convolution), masks it by an ``index_select``
with an explicit inverse, takes the softmax and multiplies; both heads upsample and concatenate
before the bottleneck. Input of 2048 channels, one image.

    python tools/benchmarks/bench_heads.py [--device cuda] [--dtype bfloat16] [--csv]
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from harness import interleaved, run
from torch import Tensor
from written_out import written_psa_head, written_psp_head

from segkit.models.decode_heads import PSAHead, PSPHead

COMMON = {'in_channels': 2048, 'channels': 512, 'num_classes': 19, 'norm_cfg': {'type': 'BN'}}


CASES = [
    # head, its written-out form, arguments, input, training
    (PSAHead, written_psa_head, {'mask_size': (97, 97)}, (97, 97), False),
    (PSAHead, written_psa_head, {'mask_size': (97, 97)}, (64, 128), False),
    (PSAHead, written_psa_head, {'mask_size': (97, 97)}, (64, 64), False),
    (PSAHead, written_psa_head, {'mask_size': (66, 66)}, (64, 64), False),
    (PSAHead, written_psa_head, {'mask_size': (97, 97)}, (64, 64), True),
    (PSAHead, written_psa_head, {'mask_size': (97, 97)}, (97, 97), True),
    (PSPHead, written_psp_head, {}, (97, 97), False),
    (PSPHead, written_psp_head, {}, (64, 64), False),
    (PSPHead, written_psp_head, {}, (64, 64), True),
]


def call_of(logits: Callable[[], Tensor], training: bool) -> Callable[[], None]:
    """Inference, or forward and backward."""

    def infer() -> None:
        with torch.no_grad():
            logits()

    def train() -> None:
        logits().sum().backward()

    return train if training else infer


def measure(case: tuple, device: str, dtype: str, repeats: int) -> dict[str, object]:
    """One row of the table."""
    cls, written, extra, size, training = case
    torch.manual_seed(0)
    head = cls(**COMMON, **extra).train(training).to(device, getattr(torch, dtype))
    # Two images in training: a batch norm over the 1x1 cell of PSPHead needs more than one value.
    batch = 2 if training else 1
    x = torch.randn(batch, 2048, *size, device=device, dtype=getattr(torch, dtype))
    x.requires_grad_(training)
    forms = {'written': partial(written, head, x), 'segkit': partial(head, [x])}
    calls = {form: call_of(logits, training) for form, logits in forms.items()}
    seconds = interleaved(calls, repeats, device=device)
    mask = extra.get('mask_size')
    return {
        'head': cls.__name__ + (f', mask {mask[0]}x{mask[1]}' if mask else ''),
        'input': f'{batch}x2048x{size[0]}x{size[1]}',
        'pass': 'forward + backward' if training else 'inference',
        'dtype': dtype,
        'written out s': f'{seconds["written"]:.3g}',
        'segkit s': f'{seconds["segkit"]:.3g}',
        'speed-up': round(seconds['written'] / seconds['segkit'], 2),
    }


def rows(args: argparse.Namespace) -> list[dict]:
    return [measure(case, args.device, args.dtype, args.repeats) for case in CASES]


if __name__ == '__main__':
    run(__doc__, {'heads_{device}_{dtype}': rows}, repeats=3)
