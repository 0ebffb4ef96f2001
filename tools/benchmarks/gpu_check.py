"""All that a GPU has to say about segkit, in order, each part within its share of the time.

    bash tools/benchmarks/gpu_check.sh        docs/cuda_extension.md says what it does

Every part is a process of its own, which appends rows to $OUT/gpu.csv and text to logs there; what
a part leaves of its time goes to those after it. A part that fails, hangs or is missing a program
ends itself alone.
"""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import gpu_device as device
from gpu_bench import write_row

HERE, ROOT = Path(__file__).resolve().parent, device.ROOT
OUT = Path(os.environ.get('OUT') or ROOT / 'gpu_results').resolve()
# A rehearsal ends when it is done, and shares its CPU with whatever else runs there.
TOTAL = float(os.environ.get('TOTAL') or (3600 if device.REHEARSAL else 540))
GRACE = 4.0  # seconds from SIGTERM to SIGKILL
OPERATORS = ROOT / 'tests' / 'ops' / 'test_on_gpu.py'
SMALL = '(reference and not 97 and (float32 or bfloat16)) or strides or empty or (kernels and 20)'
VERSIONS = """
import importlib.metadata as m, sys
print(sys.version, *sorted(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')
"""
Commands = dict[str, list[str]]  # name of a log -> words


class Ended(NamedTuple):
    how: str  # empty if with status 0
    text: str  # what it wrote


def script(name: str, *arguments: str) -> list[str]:
    """A script of this folder; its lines are noted in a rehearsal."""
    noted = [str(HERE / 'gpu_lines.py')] if device.REHEARSAL else []
    return [sys.executable, *noted, str(HERE / name), '--out', str(OUT), *arguments]


def tests(files: list[Path], *arguments: str) -> list[str]:
    return [sys.executable, '-m', 'pytest', '-v', '-m', 'gpu', *arguments, *map(str, files)]


def marked() -> list[Path]:
    """Test files with tests for a GPU; those of the operators apart, which need the extension."""
    files = sorted((ROOT / 'tests').rglob('test_*.py'))
    return [path for path in files if 'mark.gpu' in path.read_text() and path != OPERATORS]


def row(part: str, case: str, how: str, **numbers: object) -> None:
    """``how``: what went wrong, or nothing."""
    found = {'part': part, 'case': case, 'result': 'failed' if how else 'ok', **numbers}
    found['note'] = ' '.join(filter(None, [how, str(numbers.get('note', ''))]))
    write_row(OUT, found | {'machine': device.machine()})


class Running:
    """A process group with its output in a log."""

    def __init__(self, log: str, words: list[str], **environment: str) -> None:
        self.path = OUT / f'{log}.log'
        with self.path.open('a') as file:
            print(f'\n===== {time.strftime("%X")} {" ".join(words)}', file=file, flush=True)
            self.start = file.tell()
            try:
                self.process: subprocess.Popen | None = subprocess.Popen(
                    words, stdout=file, stderr=file, cwd=ROOT, start_new_session=True,
                    env=os.environ | environment,
                )  # fmt: skip
            except OSError as error:
                print(error, file=file)
                self.process = None

    def end(self, until: float) -> Ended:
        """Wait for it; from ``until`` on it is stopped."""
        if self.process is None:
            return Ended('could not be started: see the log', '')
        try:
            status = self.process.wait(max(until - time.monotonic(), 0.1))
            how = f'exit status {status}' if status else ''
        except subprocess.TimeoutExpired:
            how = 'out of time'
        finally:
            self.stop()
        with self.path.open('rb') as file:
            file.seek(self.start)
            return Ended(how, file.read().decode(errors='replace'))

    def stop(self) -> None:
        """It and its children, where they have not ended."""
        process, self.process = self.process, None
        for number in (signal.SIGTERM, signal.SIGKILL) if process else ():
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(GRACE)


def run(commands: Commands, until: float, **environment: str) -> list[Ended]:
    """All of them side by side."""
    running = [Running(log, words, **environment) for log, words in commands.items()]
    try:
        return [each.end(until) for each in running]
    finally:  # all of them, on Ctrl-C too
        for each in running:
            each.stop()


def run_tests(part: str, files: list[Path], until: float) -> None:
    (ended,) = run({'gpu': tests(files)}, until)
    results = re.findall(r'^(\S+::.*?) (PASSED|FAILED|ERROR|SKIPPED)', ended.text, re.M)
    counts = dict(Counter(result for _, result in results))
    failed = [name for name, result in results if result in ('FAILED', 'ERROR')]
    for name in failed:
        row(part, name, 'see the log')
    row(part, f'{len(results)} tests', ended.how, note=f'{counts}')


def run_sanitizer(part: str, files: list[Path], until: float) -> None:
    """Errors and hazards of our kernels; of all kernels if its filter is not understood."""
    words = tests(files, '-k', SMALL)
    for tools in (('memcheck', 'racecheck'), ('memcheck of all', 'racecheck of all')):
        commands = {tool.replace(' ', '_'): device.under(tool, words) for tool in tools}
        done = run(commands, until, PYTORCH_NO_CUDA_MEMORY_CACHING='1')
        summaries = [re.search(r'SUMMARY: (\d+).*', ended.text) for ended in done]
        for tool, ended, summary in zip(tools, done, summaries):
            passed = len(re.findall(r' PASSED', ended.text))
            bad = ended.how or ('' if summary and summary[1] == '0' and passed else 'not clean')
            note = f'{summary[0] if summary else "no summary"}, {passed} tests passed'
            row(part, tool, '' if device.REHEARSAL else bad, note=note)
        if all(summaries) or device.REHEARSAL:
            break


def run_script(part: str, words: list[str], until: float) -> None:
    """A part that writes its own rows; once more, launch by launch, where CUDA stopped it."""
    left = ['--seconds', f'{max(until - time.monotonic() - 6, 1):.0f}']
    (ended,) = run({'gpu': [*words, *left]}, until)
    row(part, 'as a whole', ended.how)
    if ended.how.startswith('exit') and 'CUDA error' in ended.text:
        run({'launch_by_launch': [*words, *left]}, until, CUDA_LAUNCH_BLOCKING='1')


def parts() -> list[tuple]:
    """(name, share of the time, function, what it runs)."""
    counters = device.under('counters', script('gpu_operations.py', '--once'))
    return [
        ('tests', 30, run_tests, marked()),
        ('operator tests', 40, run_tests, [OPERATORS]),
        ('parity', 60, run_script, script('gpu_parity.py')),
        ('sanitizer', 50, run_sanitizer, [OPERATORS]),
        ('operations', 60, run_script, script('gpu_operations.py')),
        ('counters', 20, run_script, counters),
        ('networks', 105, run_script, script('gpu_networks.py')),
        ('training', 135, run_script, script('gpu_training.py')),
        ('distributed', 25, run_script, script('gpu_distributed.py')),
        ('onnxruntime', 15, run_script, script('gpu_onnxruntime.py')),
    ]


def table() -> int:
    """Prints every row and how many of each part ended how; how many failed."""
    with (OUT / 'gpu.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    counts: dict[str, Counter] = {}
    for found in rows:
        counts.setdefault(found['part'], Counter())[found['result']] += 1
        shown = [f'{k}={v}' for k, v in found.items() if v and k not in ('part', 'case', 'machine')]
        if found['result'] != 'ok' or found['ratio']:
            print(f'{found["part"]:12} {found["case"]}: {" ".join(shown[:8])}'[:200])
    print('\n| part | rows |\n| --- | --- |')
    for part, count in counts.items():
        print(f'| {part} | {", ".join(f"{number} {result}" for result, number in count.items())} |')
    print(f'{len(rows)} rows in {OUT / "gpu.csv"}, on {device.machine()}')
    return sum(count['failed'] for count in counts.values())


def main() -> None:
    if why := device.missing():
        sys.exit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit('stopped'))
    begun = time.monotonic()
    OUT.mkdir(parents=True, exist_ok=True)
    for old in [OUT / 'gpu.csv', *OUT.glob('*.log')]:
        old.unlink(missing_ok=True)
    build = Running('build', device.build_command())
    for words in (['nvidia-smi'], ['df', '-h', '/dev/shm'], [sys.executable, '-c', VERSIONS]):
        Running('gpu', words).end(begun + 20)
    left = parts()
    while left:
        name, share, function, what = left.pop(0)
        if name == 'operator tests':
            row('build', 'CUDA extension', build.end(begun + TOTAL / 4).how)
        shares = share + sum(other[1] for other in left)
        until = time.monotonic() + (begun + TOTAL - time.monotonic()) * share / shares
        before = time.monotonic()
        function(name, what, until)
        print(f'{name}: {time.monotonic() - before:.0f} of {until - before:.0f} s', flush=True)
    raise SystemExit(1 if table() else 0)


if __name__ == '__main__':
    main()
