"""Time on the GPU's own clock, peak memory of its allocator, and the rows of a result.

On CPU nothing is measured: a benchmark can be rehearsed there, to see that it runs.
"""

import statistics
from collections.abc import Callable

import torch
from timing import MIB, machine

WARMUP = 2
COLUMNS = ('ms', 'other_form_ms', 'ratio', 'gb_per_s', 'of_copy', 'mib', 'other_form_mib')
Call = Callable[[], object]


class Bench:
    """A device, how often to repeat, and the rows found so far."""

    def __init__(self, device: str, repeats: int) -> None:
        self.device, self.repeats = device, repeats
        self.rehearsal = device == 'cpu'
        self.rows: list[dict] = []

    def seconds(self, *calls: Call) -> list[float]:
        """Median seconds of each call; the calls take turns."""
        samples: list[list[float]] = [[] for _ in calls]
        for turn in range(WARMUP + self.repeats):
            for call, found in zip(calls, samples):
                time = self._once(call)
                if turn >= WARMUP:
                    found.append(time)
        return [statistics.median(found) for found in samples]

    def _once(self, call: Call) -> float:
        if self.rehearsal:
            call()
            return 1.0
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def peak(self, call: Call) -> float:
        """Peak memory of a call beyond what was allocated before it, in MiB."""
        if self.rehearsal:
            return 0.0
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / MIB

    def add(self, part: str, case: str, **numbers: float) -> None:
        """Keep and print a row; numbers are named by COLUMNS."""
        found = {name: round(value, 4) for name, value in numbers.items()}
        row = {'part': part, 'case': case, **dict.fromkeys(COLUMNS, ''), **found}
        self.rows.append(row | {'machine': machine(self.device)})
        print(part, case, *(f'{name}={value}' for name, value in found.items()), flush=True)

    def compare(self, part: str, case: str, call: Call, written: Call) -> None:
        """Time and memory of a form and of the written-out one."""
        ours, theirs = self.seconds(call, written)
        self.add(
            part, case, ms=ours * 1e3, other_form_ms=theirs * 1e3, ratio=theirs / ours,
            mib=self.peak(call), other_form_mib=self.peak(written),
        )  # fmt: skip
