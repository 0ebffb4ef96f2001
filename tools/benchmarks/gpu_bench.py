"""The rows of one part of the GPU command: found one by one, and written as they are found.

A case that fails is a row and a traceback on the terminal, and the next one is begun; one that is
not begun in time is a row too.
"""

import argparse
import atexit
import csv
import faulthandler
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import gpu_device as device
import torch
from torch import Tensor

COLUMNS = (
    'part', 'case', 'result', 'ms', 'other_form_ms', 'ratio', 'bar', 'gb_per_s', 'of_copy', 'fps',
    'mib', 'other_form_mib', 'error', 'note', 'machine',
)  # fmt: skip
WARMUP, REPEATS = 2, 7
HALF_STEPS = 8  # two forms that round apart agree within so many steps of bfloat16
Call = Callable[[], object]


def write_row(out: Path, row: dict[str, object]) -> None:
    """Append a row to ``out``/gpu.csv, whole or not at all."""
    path = out / 'gpu.csv'
    with path.open('a', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS, restval='', lineterminator='\n')
        if path.stat().st_size == 0:
            writer.writeheader()
        writer.writerow(row)


class Bench:
    """One part, by the options of its script; ``status`` is what the script ends with."""

    def __init__(self, part: str, doc: str) -> None:
        parser = argparse.ArgumentParser(description=doc.splitlines()[0])
        parser.add_argument('--out', type=Path, default=device.ROOT / 'gpu_results')
        parser.add_argument('--seconds', type=float, default=3600, help='begin no case after them')
        parser.add_argument('--once', action='store_true', help='call every form once, time none')
        args = parser.parse_args()
        if why := device.missing():
            parser.exit(1, why + '\n')
        self.part, self.out, self.once = part, args.out, args.once
        self.until, self.status = time.monotonic() + args.seconds, 0
        self.out.mkdir(parents=True, exist_ok=True)
        # Where it hung, if it did.
        faulthandler.dump_traceback_later(args.seconds + 4, file=sys.__stderr__)
        atexit.register(faulthandler.cancel_dump_traceback_later)
        torch.manual_seed(0)
        if device.REHEARSAL:
            torch.set_num_threads(1)

    def add(self, case: str, result: str = 'ok', **numbers: object) -> None:
        """Write and print a row; numbers are named by COLUMNS."""
        if self.once:
            return
        found = {k: float(f'{v:.4g}') if isinstance(v, float) else v for k, v in numbers.items()}
        row = {'part': self.part, 'case': case, 'result': result, **found}
        write_row(self.out, row | {'machine': device.machine()})
        print(result, case, *(f'{name}={value}' for name, value in found.items()), flush=True)
        self.status |= result == 'failed'

    def run(self, case: str, function: Callable[..., None], *arguments: object) -> None:
        """``function(self, case, *arguments)``, which adds the rows of the case."""
        if self.left() < 0:
            self.add(case, 'not run', note='out of time')
            return
        try:
            function(self, case, *arguments)
        except Exception as error:
            traceback.print_exc()
            self.add(case, 'failed', note=f'{type(error).__name__}: {error}'.splitlines()[0][:200])
            if device.context_is_lost(error):
                raise
        finally:
            device.release()

    def left(self) -> float:
        """Seconds until no case is begun."""
        return self.until - time.monotonic()

    def seconds(self, *calls: Call) -> list[float]:
        """Median seconds of each call; the calls take turns."""
        repeats = (0, 1) if self.once or device.REHEARSAL else (WARMUP, REPEATS)
        samples = [[device.seconds(call) for call in calls] for _ in range(sum(repeats))]
        return [statistics.median(found) for found in zip(*samples[repeats[0] :])]

    def compare(
        self, case: str, call: Call, other: Call, bar: float = 0, images: int = 0, **more: float
    ) -> None:
        """Time and memory of a form and of another; below the bar if it is not so much faster."""
        ours, theirs = self.seconds(call, other)
        extra = more | ({'fps': images / ours} if images else {})
        extra |= {'bar': bar} if bar else {}
        self.add(
            case, 'ok' if theirs / ours >= bar or device.REHEARSAL else 'below',
            ms=ours * 1e3, other_form_ms=theirs * 1e3, ratio=theirs / ours,
            mib=device.peak_mib(call), other_form_mib=device.peak_mib(other), **extra,
        )  # fmt: skip


def agree(got: Tensor, want: Tensor, steps: int = HALF_STEPS) -> None:
    """Two forms differ by at most ``steps`` of bfloat16 of the largest value, or ValueError."""
    got, want = got.detach().float(), want.detach().float()
    off = float((got - want).abs().max() / want.abs().max())
    if not off <= steps * torch.finfo(torch.bfloat16).eps:
        raise ValueError(f'the two forms differ by {off:.1e} of the largest value')


def trained(call: Callable[[], Tensor]) -> Call:
    """Forward and backward."""
    return lambda: call().float().square().mean().backward()


def half(form: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Under bfloat16 autocast."""

    def call() -> Tensor:
        with torch.autocast(device.DEVICE, torch.bfloat16):
            return form()

    return call
