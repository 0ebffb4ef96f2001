"""What of point-wise spatial attention only a GPU can tell, in one run.

Builds the CUDA extension if it is not there, checks every form against the other, then times

    mask       the psa_mask kernels, in bytes that they must move per second, beside a device copy
               on the same machine and beside index_select (bar: 70 % of the copy)
    attention  psa_attention in bfloat16 beside the written-out form (bar: 2 times); and by patches
               (psa_patches.py) beside the form for GPUs alone: the slower of the two can go
    head       PSAHead and PSPHead under bfloat16 autocast beside theirs (bar: 2 times)

and writes results/cuda.csv with the machine's name. The tests come first, under the sanitizer too:

    python -m pytest -m gpu tests/ops
    compute-sanitizer --tool memcheck  python -m pytest -m gpu tests/ops/test_on_gpu.py
    compute-sanitizer --tool racecheck python -m pytest -m gpu tests/ops/test_on_gpu.py
    python tools/benchmarks/bench_cuda.py [--parts mask attention head] [--repeats 20]

``--rehearse`` runs every part on CPU with small sizes, to see that the script works. It measures
and writes nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from cuda_clock import Bench
from timing import markdown_table, write_csv
from written_out_heads import written_attention, written_psa_head, written_psp_head

from segkit.ops import build_ext, cuda_ext, psa_attention, psa_patches
from segkit.ops.psa_window import PSA_TYPES, Reach
from segkit.registry import MODELS

CASES = [(2, 49, 49, 97), (8, 49, 49, 97), (2, 32, 64, 97), (1, 64, 128, 97), (4, 32, 32, 66)]
HEAD_INPUTS = [(2, 97, 97), (2, 64, 128), (2, 64, 64)]
HEADS = {'PSAHead': (written_psa_head, {'mask_size': (97, 97)}), 'PSPHead': (written_psp_head, {})}
REHEARSAL = [(2, 6, 7, 9)]  # of both kinds of input
BFLOAT16_STEPS = 8  # two forms that round apart agree within so many steps


def agree(case: str, got: Tensor, want: Tensor, steps: int = 0) -> None:
    """Stop if two forms differ by more than ``steps`` of bfloat16 of the largest value."""
    got, want = got.detach().float(), want.detach().float()
    off = float((got - want).abs().max() / want.abs().max())
    if not off <= steps * torch.finfo(torch.bfloat16).eps:
        raise SystemExit(f'{case}: the two forms differ by {off:.1e} of the largest value')


def bench_mask(bench: Bench) -> None:
    count = 2**20 if bench.rehearsal else 2**30
    source = torch.zeros(count, dtype=torch.uint8, device=bench.device).random_()
    target = torch.empty_like(source)
    (seconds,) = bench.seconds(lambda: target.copy_(source))
    copy = 2 * count / seconds
    bench.add('copy', f'{count} bytes', ms=seconds * 1e3, gb_per_s=copy / 1e9)
    for n, h, w, mask in REHEARSAL if bench.rehearsal else CASES:
        inside = n * pairs(h, mask) * pairs(w, mask)
        for dtype in (torch.bfloat16, torch.float32):
            for channels, operator, plain in mask_operators(mask, h * w):
                x = torch.randn(n, channels, h, w, device=bench.device).to(dtype)
                moved = (inside + operator(x, 0, mask, mask).numel()) * x.element_size()
                for mode, name in enumerate(PSA_TYPES):
                    case = f'{plain.__name__[1:]} {name} {n}x{h}x{w} mask {mask} {dtype}'
                    forms = [partial(form, x, mode, mask, mask) for form in (operator, plain)]
                    mask_row(bench, case, *forms, moved, copy)


def mask_row(
    bench: Bench, case: str, call: Callable, plain: Callable, moved: int, copy: float
) -> None:
    """``moved``: bytes the operator must move; ``copy``: bytes per second of a copy."""
    agree(case, call(), plain())
    ours, theirs = bench.seconds(call, plain)
    speed = moved / ours
    bench.add(
        'mask', case, ms=ours * 1e3, other_form_ms=theirs * 1e3, ratio=theirs / ours,
        gb_per_s=speed / 1e9, of_copy=speed / copy,
    )  # fmt: skip


def mask_operators(mask: int, pixels: int) -> list[tuple[int, Callable, Callable]]:
    """(input channels, operator, plain torch) of both passes."""
    module = sys.modules['segkit.ops.psa_mask']
    return [
        (mask * mask, torch.ops.segkit.psa_mask, module._forward),
        (pixels, torch.ops.segkit.psa_mask_backward, module._backward),
    ]


def pairs(size: int, mask: int) -> int:
    """How many (own, other) pairs of one axis lie inside the mask: those have to be read."""
    reach = Reach(size, mask)
    return sum(stop - start for start, stop in (reach.others(i, i) for i in range(size)))


def bench_attention(bench: Bench) -> None:
    channels = 8 if bench.rehearsal else 512
    for n, h, w, mask in REHEARSAL if bench.rehearsal else CASES:
        inputs = [torch.randn(n, channels, h, w, device=bench.device) for _ in range(2)]
        inputs.append(torch.randn(mask * mask, channels, device=bench.device) * channels**-0.5)
        inputs = [tensor.bfloat16().requires_grad_() for tensor in inputs]
        for psa_type in PSA_TYPES:
            arguments = (*inputs, psa_type, (mask, mask))
            case = f'{psa_type} {n}x{h}x{w} mask {mask} bfloat16'
            written = partial(written_attention, *arguments)
            for keep in (False, True):
                call = partial(psa_attention, *arguments, save_attention=keep)
                agree(case, call(), written(), BFLOAT16_STEPS)
                name = f'forward and backward, attention kept: {keep}, {case}'
                bench.compare('attention', name, trained(call), trained(written))
                bench.compare(
                    'attention', f'patches: {name}', by_patches(trained(call)), trained(call)
                )
            with torch.no_grad():
                agree(case, by_patches(call)(), written(), BFLOAT16_STEPS)
                bench.compare('attention', f'forward {case}', call, written)
                bench.compare('attention', f'patches: forward {case}', by_patches(call), call)


def by_patches(call: Callable[[], Any]) -> Callable[[], Any]:
    """The same with the one form for CPU and GPU, where a GPU has another of its own."""

    def other_form() -> Any:
        chosen = psa_patches.use_grouped
        psa_patches.use_grouped = lambda *_: False
        try:
            return call()
        finally:
            psa_patches.use_grouped = chosen

    return other_form


def trained(call: Callable[[], Tensor]) -> Callable[[], None]:
    return lambda: call().float().square().mean().backward()


def bench_heads(bench: Bench) -> None:
    wide, narrow = (16, 8) if bench.rehearsal else (2048, 512)
    inputs = [case[:3] for case in REHEARSAL] if bench.rehearsal else HEAD_INPUTS
    for kind, (written, options) in HEADS.items():
        settings = dict(type=kind, in_channels=wide, channels=narrow, in_index=0, num_classes=19)
        settings |= dict(norm_cfg=dict(type='BN'), dropout_ratio=0) | options
        head = MODELS.build(settings).to(bench.device)
        for n, h, w in inputs:
            x = torch.randn(n, wide, h, w, device=bench.device).relu_()
            calls = [autocast(partial(head, [x]), x), autocast(partial(written, head, x), x)]
            case = f'{kind} {n}x{h}x{w} bfloat16'
            head.eval()
            with torch.no_grad():
                agree(case, *(call() for call in calls), BFLOAT16_STEPS)
                bench.compare('head', f'inference {case}', *calls)
            head.train()
            bench.compare('head', f'training step {case}', *map(trained, calls))


def autocast(form: Callable[[], Tensor], x: Tensor) -> Callable[[], Tensor]:
    def call() -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return form()

    return call


PARTS = {'mask': bench_mask, 'attention': bench_attention, 'head': bench_heads}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--rehearse', action='store_true', help='on CPU, small, nothing written')
    args = parser.parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        sys.exit('bench_cuda.py needs a CUDA device; --rehearse runs it on CPU without measuring.')
    if not args.rehearse and not cuda_ext.HAS_CUDA_OPS:
        cuda_ext.load(build_ext.build(Path(tempfile.mkdtemp(prefix='segkit_ext_'))))
    torch.manual_seed(0)
    bench = Bench('cpu' if args.rehearse else 'cuda', 1 if args.rehearse else args.repeats)
    for part in args.parts:
        PARTS[part](bench)
    if not args.rehearse:
        print(markdown_table(bench.rows))
        print(write_csv('cuda', bench.rows))


if __name__ == '__main__':
    main()
