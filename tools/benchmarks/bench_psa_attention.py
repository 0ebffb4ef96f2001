"""Windowed attention against its written-out form: time, memory and error.

Written out: all window logits (a 1x1 convolution), an ``index_select`` mask whose inverse is
explicit, softmax, product. C = 512. The error is against float64.

    python tools/benchmarks/bench_psa_attention.py [--only NAME ...] [--repeats 5] [--csv]
"""

import argparse
from collections.abc import Callable

import torch
from harness import interleaved, peak_memory, run
from torch import Tensor
from written_out import written_attention

from segkit.ops import psa_attention

CASES = [  # images, map, mask
    (2, (49, 49), 97),
    (2, (32, 64), 97),
    (2, (32, 32), 97),
    (2, (32, 32), 66),
    (2, (30, 30), 59),
]
CHANNELS = 512
TYPES = ('collect', 'distribute')
FORMS = ('written', 'recompute', 'save')


def make_inputs(n: int, size: tuple[int, int], mask: int, device: str, dtype: str) -> list[Tensor]:
    """value, feat, weight; logits of the order of one."""
    torch.manual_seed(0)
    shapes = (n, CHANNELS, *size), (n, CHANNELS, *size), (mask * mask, CHANNELS)
    tensors = [torch.randn(s, device=device) for s in shapes]
    tensors[2] /= CHANNELS**0.5
    return [t.to(getattr(torch, dtype)) for t in tensors]


def forward_of(form: str, case: list[Tensor], psa_type: str, mask: int) -> Callable[[], Tensor]:
    if form == 'written':
        return lambda: written_attention(*case, psa_type, (mask, mask))
    return lambda: psa_attention(*case, psa_type, mask, save_attention=form == 'save')


def call_of(
    form: str, n: int, size: list[int], mask: int, psa_type: str, training: bool,
    device: str = 'cpu', dtype: str = 'float32',
) -> Callable[[], object]:  # fmt: skip
    """The call to measure: the output, or the gradients of the three inputs."""
    if device == 'cpu':
        torch.set_num_threads(1)
    if size != [9, 9]:  # libraries load and workspaces grow before anything is measured
        call_of(form, n, [9, 9], 17, psa_type, training, device, dtype)()
    case = make_inputs(n, size, mask, device, dtype)
    forward = forward_of(form, case, psa_type, mask)
    if not training:
        return torch.no_grad()(forward)
    for tensor in case:
        tensor.requires_grad_()
    grad = torch.randn_like(case[0])
    return lambda: torch.autograd.grad(forward(), case, grad)


def measure_time(case: tuple, psa_type: str, args: argparse.Namespace) -> dict:
    n, size, mask = case
    row = {'images': n, 'map': f'{size[0]}x{size[1]}', 'mask': mask, 'type': psa_type}
    for training, forms in ((False, FORMS[:2]), (True, FORMS)):
        where = dict(device=args.device, dtype=args.dtype)
        calls = {f: call_of(f, n, size, mask, psa_type, training, **where) for f in forms}
        seconds = interleaved(calls, args.repeats, device=args.device)
        name = 'f+b' if training else 'fwd'
        row[f'{name} written ms'] = round(seconds['written'] * 1e3, 2)
        for form in forms[1:]:
            label = name if form == 'recompute' else f'{name} kept'
            row[f'{label} ms'] = round(seconds[form] * 1e3, 2)
            row[f'{label} speed-up'] = round(seconds['written'] / seconds[form], 2)
    return row


def measure_memory(case: tuple, psa_type: str, args: argparse.Namespace) -> dict:
    n, size, mask = case
    row = {'images': n, 'map': f'{size[0]}x{size[1]}', 'mask': mask, 'type': psa_type}
    for training, forms in ((False, FORMS[:2]), (True, FORMS)):
        name = 'f+b' if training else 'fwd'
        arguments = dict(n=n, size=size, mask=mask, psa_type=psa_type, training=training)
        arguments |= dict(device=args.device, dtype=args.dtype)
        peaks = {f: peak_memory(__file__, 'call_of', form=f, **arguments) for f in forms}
        row[f'{name} written MiB'] = round(peaks['written'])
        for form in forms[1:]:
            label = name if form == 'recompute' else f'{name} kept'
            row[f'{label} MiB'] = round(peaks[form])
            row[f'{label} share'] = round(peaks[form] / peaks['written'], 2)
    return row


def measure_error(case: tuple, psa_type: str, args: argparse.Namespace) -> dict:
    n, size, mask = case
    inputs = make_inputs(n, size, mask, args.device, 'float32')
    double = [t.double() for t in inputs]
    exact = psa_attention(*double, psa_type, mask)  # checked against loops by the tests
    row = {'images': n, 'map': f'{size[0]}x{size[1]}', 'mask': mask, 'type': psa_type}
    for form in FORMS[:2]:
        error = forward_of(form, inputs, psa_type, mask)() - exact
        row[f'{form} largest'] = f'{error.abs().max():.1e}'
        row[f'{form} rms'] = f'{error.square().mean().sqrt():.1e}'
    return row


def each(measure: Callable) -> Callable[[argparse.Namespace], list[dict]]:
    return lambda args: [measure(case, kind, args) for case in CASES for kind in TYPES]


if __name__ == '__main__':
    measures = {'time': measure_time, 'memory': measure_memory, 'error': measure_error}
    tables = {f'psa_attention_{k}_{{device}}_{{dtype}}': each(m) for k, m in measures.items()}
    run(__doc__, tables)
