"""Kernels and operations of point-wise attention on a GPU beside what they are measured by.

    python tools/benchmarks/gpu_operations.py

    mask       the psa_mask kernels, in bytes that they must move per second, beside a copy on the
               same machine (bar: 70 % of it); other form: index_select
    attention  psa_attention in bfloat16 beside the written-out form (bar: 2 times), and patches,
               grouped and Triton forms beside one another: the slower of them can go
    head       PSAHead and PSPHead under bfloat16 autocast beside theirs (bar: 2 times)
    loss, position attention    in bfloat16 beside theirs

``--once`` runs each form once and writes nothing: for a profiler.
"""

import sys
from collections.abc import Callable
from functools import partial

import gpu_device as device
import torch
from bench_loss import CASES as LOSSES
from bench_loss import FORMS as LOSS_FORMS
from bench_pam import FORMS as PAM_FORMS
from gpu_bench import Bench, agree, half, trained
from gpu_cases import FORMS, in_form
from torch import Tensor
from written_out import written_attention, written_psa_head, written_psp_head

from segkit.ops import psa_attention
from segkit.ops.psa_window import PSA_TYPES, Reach
from segkit.registry import MODELS

CASES = [(2, 49, 49, 97), (8, 49, 49, 97), (2, 32, 64, 97), (1, 64, 128, 97), (4, 32, 32, 66)]
HEAD_INPUTS = [(2, 97, 97), (2, 64, 128), (2, 64, 64)]
HEADS = {'PSAHead': (written_psa_head, {'mask_size': (97, 97)}), 'PSPHead': (written_psp_head, {})}
OF_COPY, TWICE = 0.7, 2.0
WIDE, NARROW, COPIED = 2048, 512, 2**30
if device.REHEARSAL:
    CASES, HEAD_INPUTS, WIDE, NARROW, COPIED = [(2, 6, 7, 9)], [(2, 6, 7)], 16, 8, 2**20
    LOSSES.update(dict.fromkeys(LOSSES, (5, 32, 40)))


def copy(bench: Bench, case: str, found: dict[str, float]) -> None:
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device.DEVICE).random_()
    target = torch.empty_like(source)
    (seconds,) = bench.seconds(lambda: target.copy_(source))
    found['copy'] = 2 * COPIED / seconds
    bench.add(case, ms=seconds * 1e3, gb_per_s=found['copy'] / 1e9)


def mask(bench: Bench, case: str, x: Tensor, forms: tuple, numbers: tuple, copied: float) -> None:
    """``numbers``: psa_type, height and width of the mask, bytes that have to be moved."""
    *arguments, moved = numbers
    calls = [partial(form, x, *arguments) for form in forms]
    agree(calls[0](), calls[1](), 0)
    ours, theirs = bench.seconds(*calls)
    share = moved / ours / copied
    bench.add(
        case, 'ok' if share >= OF_COPY or device.REHEARSAL else 'below', ms=ours * 1e3, bar=OF_COPY,
        other_form_ms=theirs * 1e3, ratio=theirs / ours, gb_per_s=moved / ours / 1e9, of_copy=share,
    )  # fmt: skip


def masks(bench: Bench, cases: list[tuple]) -> None:
    module, operators = sys.modules['segkit.ops.psa_mask'], torch.ops.segkit
    found: dict[str, float] = {}
    bench.run(f'copy of {COPIED} bytes', copy, found)
    for n, h, w, size in cases:
        inside = n * pairs(h, size) * pairs(w, size)  # those have to be read
        passes = [(size * size, operators.psa_mask, module._forward)]
        passes += [(h * w, operators.psa_mask_backward, module._backward)]
        for dtype in (torch.bfloat16, torch.float32):
            for channels, operator, plain in passes:
                x = torch.randn(n, channels, h, w, device=device.DEVICE).to(dtype)
                out = n * h * w * (size * size if plain is module._backward else h * w)
                for mode, psa_type in enumerate(PSA_TYPES):
                    numbers = mode, size, size, (inside + out) * x.element_size()
                    case = f'mask {plain.__name__[1:]} {psa_type} {n}x{h}x{w} mask {size} {dtype}'
                    forms = operator, plain
                    bench.run(case, mask, x, forms, numbers, found.get('copy', float('inf')))


def pairs(size: int, mask: int) -> int:
    """How many (own, other) pairs of one axis lie inside the mask."""
    reach = Reach(size, mask)
    return sum(stop - start for start, stop in (reach.others(i, i) for i in range(size)))


def attention(bench: Bench, case: str, shape: tuple, psa_type: str) -> None:
    n, h, w, size = shape
    inputs = [torch.randn(n, NARROW, h, w, device=device.DEVICE) for _ in range(2)]
    inputs.append(torch.randn(size * size, NARROW, device=device.DEVICE) * NARROW**-0.5)
    inputs = [tensor.bfloat16().requires_grad_() for tensor in inputs]
    arguments = (*inputs, psa_type, (size, size))
    written = partial(written_attention, *arguments)
    for keep in (False, True):
        call = partial(psa_attention, *arguments, save_attention=keep)
        agree(call(), written())
        name = f'training, attention kept {keep}, {case}'
        bench.compare(name, trained(call), trained(written), TWICE)
        for form in FORMS:
            other = partial(in_form, form, trained(call))
            bench.compare(f'{form}: {name}', other, trained(call))
    with torch.no_grad():
        bench.compare(f'inference, {case}', call, written, TWICE)
        for form in FORMS:
            agree(in_form(form, call), written())
            bench.compare(f'{form}: inference, {case}', partial(in_form, form, call), call)


def head(bench: Bench, case: str, kind: str, shape: tuple) -> None:
    written, options = HEADS[kind]
    settings = dict(type=kind, in_channels=WIDE, channels=NARROW, in_index=0, num_classes=19)
    settings |= dict(norm_cfg=dict(type='BN'), dropout_ratio=0) | options
    made = MODELS.build(settings).to(device.DEVICE)
    x = torch.randn(shape[0], WIDE, *shape[1:], device=device.DEVICE).relu_()
    calls = [half(partial(made, [x])), half(partial(written, made, x))]
    made.eval()
    with torch.no_grad():
        agree(*(call() for call in calls))
        bench.compare(f'inference {case}', *calls, TWICE)
    made.train()
    bench.compare(f'training step {case}', *map(trained, calls), TWICE)


def loss(bench: Bench, case: str, name: str) -> None:
    classes, height, width = LOSSES[name]
    shape = 2, classes, height // 8, width // 8
    logits = torch.randn(shape, device=device.DEVICE, requires_grad=True)
    labels = torch.randint(0, classes, (2, height, width), device=device.DEVICE).byte()
    calls = [partial(form, logits, labels, True) for form in reversed(LOSS_FORMS.values())]
    bench.compare(case, *calls)


def position_attention(bench: Bench, case: str, pixels: int) -> None:
    shapes = [(2, 64, pixels), (2, 64, pixels), (2, NARROW, pixels)]
    inputs = [torch.randn(s, device=device.DEVICE).bfloat16().requires_grad_() for s in shapes]
    calls: list[Callable] = [
        partial(f, *inputs) for f in (PAM_FORMS['segkit'], PAM_FORMS['written out'])
    ]
    bench.compare(f'training {case}', *map(trained, calls))
    with torch.no_grad():
        bench.compare(f'inference {case}', *calls)


def main() -> None:
    bench = Bench('operations', __doc__)
    cases = CASES[:1] if bench.once else CASES
    masks(bench, cases)
    for kind in HEADS:
        for shape in HEAD_INPUTS:
            bench.run(f'{kind} {shape} bfloat16', head, kind, shape)
    for shape in cases:
        for psa_type in PSA_TYPES:
            bench.run(f'attention {psa_type} {shape} bfloat16', attention, shape, psa_type)
    for name in LOSSES:
        bench.run(f'loss and gradient {name}', loss, name)
    for pixels in sorted({h * w for _, h, w in HEAD_INPUTS}):
        bench.run(f'position attention {pixels} pixels bfloat16', position_attention, pixels)
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
