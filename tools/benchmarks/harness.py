"""Measure time and memory, print and keep it, the same way in every benchmark of this folder.

Time is CPU time of the process (``time.process_time``), because wall time on a shared machine
measures its load; on CUDA it is wall time between synchronisations. The variants of a case take
turns in one process, so that a change of clock or load meets all of them, and the median counts.

Memory is the growth of the peak resident set in a fresh process, with the allocator told to hand
every large block back at once, and the libraries' code in memory, of which a first call brings in
some: what a call really needs on top of its inputs. On CUDA it is what the caching allocator
reports.

A benchmark gives ``peak_memory`` a function by file and name, with arguments that JSON can hold;
the function prepares inputs and returns the call to measure.
"""

import argparse
import csv
import ctypes
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / 'results'
MIB, PAGE = 2**20, 2**12


def interleaved(
    variants: dict[str, Callable[[], object]],
    repeats: int = 5,
    warmup: int = 1,
    device: str = 'cpu',
) -> dict[str, float]:
    """Median seconds of one call of each variant; the variants alternate in one process."""
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(warmup + repeats):
        for name, call in variants.items():
            seconds = _time_once(call, device)
            if turn >= warmup:
                samples[name].append(seconds)
    return {name: statistics.median(values) for name, values in samples.items()}


def _time_once(call: Callable[[], object], device: str) -> float:
    if device == 'cpu':
        start = time.process_time()
        call()
        return time.process_time() - start
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_memory(script: str | Path, function: str, threads: int = 1, **arguments) -> float:
    """Peak extra memory, in MiB, of the call that ``function(**arguments)`` in script returns."""
    return float(in_child([__file__, str(script), function, json.dumps(arguments)], threads))


def in_child(arguments: list[str], threads: int = 1) -> str:
    """The last word that a Python with so many threads prints, whose allocator hands back all."""
    environment = dict(
        os.environ,
        MALLOC_MMAP_THRESHOLD_='65536',  # every larger block is mapped and unmapped on its own
        MALLOC_TRIM_THRESHOLD_='0',
        MALLOC_TOP_PAD_='0',
        OMP_NUM_THREADS=str(threads),
        MKL_NUM_THREADS=str(threads),
    )
    command = [sys.executable, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f'{" ".join(arguments)} failed:\n{result.stderr[-2000:]}')
    return result.stdout.split()[-1]


def _resident_peak() -> float:
    """VmHWM of this process in MiB (Linux)."""
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1024


def _measure_peak(script: str, function: str, arguments: dict) -> float:
    spec = importlib.util.spec_from_file_location('benchmark_under_test', script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    call = getattr(module, function)(**arguments)
    if arguments.get('device', 'cpu') != 'cpu':
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / MIB
    return growth_of_peak(call)


def _bring_in_code() -> None:
    """Read a byte of every page of the libraries that is never written to (Linux)."""
    for line in Path('/proc/self/maps').read_text().splitlines():
        span, rights, *_, name = line.split(maxsplit=5)
        if '.so' in name and rights.startswith('r-'):
            first, last = (int(end, 16) for end in span.split('-'))
            bytes((ctypes.c_char * (last - first)).from_address(first)[::PAGE])


def growth_of_peak(call: Callable[[], object]) -> float:
    """MiB by which the resident set of this process grows at most during a call."""
    _bring_in_code()
    Path('/proc/self/clear_refs').write_text('5')  # the peak starts again from here
    before = _resident_peak()
    result = call()  # held until the peak is read
    after = _resident_peak()
    del result
    return after - before


def machine(device: str = 'cpu', threads: int | None = None) -> str:
    """Processor or GPU, threads and versions, which every row of a result names."""
    import cv2
    import numpy
    import torch

    if device == 'cpu':
        info = Path('/proc/cpuinfo')
        text = info.read_text() if info.exists() else ''
        found = re.search(r'model name\s*:\s*(.+)', text)
        name = found[1] if found else platform.processor() or platform.machine()
        capability = torch.backends.cpu.get_cpu_capability()
        name = f'{name} ({capability}), {threads or torch.get_num_threads()} thread(s)'
    else:
        name = torch.cuda.get_device_name(device)
    return f'{name}, torch {torch.__version__}, numpy {numpy.__version__}, cv2 {cv2.__version__}'


def write_csv(name: str, rows: Iterable[dict], folder: Path = RESULTS) -> Path:
    """Write rows to results/name.csv; the columns are the keys of the first row."""
    rows = list(rows)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}.csv'
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
    return path


def markdown_table(rows: Iterable[dict]) -> str:
    """The rows as a Markdown table, in the order of the first row's keys."""
    rows = list(rows)
    head = list(rows[0])
    lines = ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head)]
    lines += ['| ' + ' | '.join(str(row[key]) for key in head) + ' |' for row in rows]
    return '\n'.join(lines)


Rows = Callable[[argparse.Namespace], Iterable[dict]]


def run(
    doc: str, tables: Mapping[str, Rows], repeats: int = 5, add: Callable = lambda _: None
) -> None:
    """The command line of a benchmark: measures its tables, prints them, with --csv keeps them.

    Args:
        doc: what ``--help`` begins with. tables: name -> function from the arguments to its rows;
            the file is results/NAME.csv, the name with ``{device}`` and ``{dtype}`` filled in.
        add: adds options of its own to the parser.
    """
    import torch

    parser = argparse.ArgumentParser(description=doc.split('\n')[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--repeats', type=int, default=repeats)
    parser.add_argument('--only', nargs='+', choices=list(tables), default=list(tables))
    parser.add_argument('--csv', action='store_true', help='write results/*.csv')
    add(parser)
    args = parser.parse_args()
    if args.device == 'cpu':  # one thread: CPU time would count how others wait for it
        torch.set_num_threads(1)
    for name in args.only:
        rows = [row | {'machine': machine(args.device)} for row in tables[name](args)]
        print(markdown_table(rows))
        if args.csv:
            print(write_csv(name.format(device=args.device, dtype=args.dtype), rows))


def main() -> None:
    """The child process of ``peak_memory``: prints one number."""
    parser = argparse.ArgumentParser(description='Peak extra memory of one call, in MiB.')
    parser.add_argument('script')
    parser.add_argument('function')
    parser.add_argument('arguments', nargs='?', default='{}', help='a JSON object')
    args = parser.parse_args()
    print(_measure_peak(args.script, args.function, json.loads(args.arguments)))


if __name__ == '__main__':
    main()
