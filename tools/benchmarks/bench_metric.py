"""The confusion matrix of one image against the written-out path of mmsegmentation.

Written out: ignored pixels dropped by boolean gathers, then one float histogram each for
intersection, prediction and label. Maps are random in cells of 8 x 8 pixels, 5 % ignored; both get
the same maps, as uint8 (what segkit passes) and as int64 (what mmsegmentation passed).

    python tools/benchmarks/bench_metric.py [--repeats 9] [--csv]
"""

import argparse
from collections.abc import Callable

import torch
from harness import interleaved, peak_memory, run
from torch import Tensor

from segkit.evaluation.confusion import confusion_matrix

CASES = {
    'Cityscapes 1024x2048, 19 classes': (1024, 2048, 19),
    'ADE20K 512x683, 150 classes': (512, 683, 150),
}
IGNORED = 255


def make_inputs(case: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, int]:
    """Label and prediction; four cells of five are right."""
    height, width, classes = CASES[case]
    torch.manual_seed(0)
    small = (height + 7) // 8, (width + 7) // 8
    label = torch.randint(0, classes, small)
    other = torch.randint(0, classes, small)
    pred = torch.where(torch.rand(small) < 0.8, label, other)
    label = label.masked_fill(torch.rand(small) < 0.05, IGNORED)
    maps = (
        x.repeat_interleave(8, 0).repeat_interleave(8, 1)[:height, :width] for x in (label, pred)
    )
    return *(x.to(dtype).contiguous() for x in maps), classes


def written_out(label: Tensor, pred: Tensor, classes: int) -> Tensor:
    """(3, K) areas: intersection, label, prediction."""
    counted = label != IGNORED
    pred, label = pred[counted], label[counted]
    right = pred[pred == label]
    areas = [
        torch.histc(x.float(), bins=classes, min=0, max=classes - 1) for x in (right, label, pred)
    ]
    return torch.stack(areas)


def one_histogram(label: Tensor, pred: Tensor, classes: int) -> Tensor:
    """The same areas, from segkit's confusion matrix."""
    matrix = confusion_matrix(label, pred, classes, IGNORED)
    return torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)])


FORMS = {'written out': written_out, 'one histogram': one_histogram}


def prepare(case: str, form: str, dtype: str) -> Callable[[], Tensor]:
    """The call that ``peak_memory`` measures."""
    inputs = make_inputs(case, getattr(torch, dtype))
    FORMS[form](*(x[:2, :2] for x in inputs[:2]), inputs[2])
    return lambda: FORMS[form](*inputs)


def measure(case: str, dtype: str, repeats: int) -> dict:
    """One row of the table; refuses to time two different answers."""
    calls = {form: prepare(case, form, dtype) for form in FORMS}
    old, new = FORMS
    if not torch.equal(calls[old]().long(), calls[new]()):
        raise SystemExit(f'{case}: the two forms count differently.')
    seconds = interleaved(calls, repeats)
    mib = {
        form: peak_memory(__file__, 'prepare', case=case, form=form, dtype=dtype) for form in FORMS
    }
    return {
        'case': case,
        'maps': dtype,
        'written out ms': round(1e3 * seconds[old], 2),
        'one histogram ms': round(1e3 * seconds[new], 2),
        'speed ratio': round(seconds[old] / seconds[new], 1),
        'written out MiB': round(mib[old], 1),
        'one histogram MiB': round(mib[new], 1),
    }


def rows(args: argparse.Namespace) -> list[dict]:
    return [measure(case, kind, args.repeats) for case in CASES for kind in ('uint8', 'int64')]


if __name__ == '__main__':
    run(__doc__, {'metric_{device}': rows}, repeats=9)
