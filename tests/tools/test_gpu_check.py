"""The command for a machine with a GPU ends in time whatever a part does, and says what happened.

That every part runs is shown by its rehearsal (`make gpu REHEARSE=1`), not here.
"""

import csv
import importlib.metadata
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / 'tools' / 'benchmarks'
# Not in the wheel folder: what a machine for training has, or what has no pure wheel.
THERE = {
    'torch', 'numpy', 'pillow', 'opencv-python', 'matplotlib', 'pyyaml', 'packaging', 'setuptools',
    'jinja2', 'safetensors', 'tqdm', 'rich',
}  # fmt: skip


@pytest.fixture
def check(monkeypatch, tmp_path):
    """gpu_check with its results in a folder of the test, as on a machine with a GPU."""
    monkeypatch.syspath_prepend(str(HERE))
    import gpu_check

    monkeypatch.setattr(gpu_check, 'OUT', tmp_path)
    monkeypatch.setattr(gpu_check, 'GRACE', 1.0)
    monkeypatch.setattr(gpu_check.device, 'machine', lambda: 'a card')
    monkeypatch.setattr(gpu_check.device, 'missing', lambda: '')
    monkeypatch.setattr(gpu_check.device, 'release', lambda: None)
    return gpu_check


def python(code: str) -> list[str]:
    return [sys.executable, '-c', code]


def rows(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / 'gpu.csv').open(newline='') as file:
        return [(row['case'], row['result'], row['note']) for row in csv.DictReader(file)]


def test_a_part_that_fails_or_hangs_stops_no_other(check, monkeypatch, tmp_path, capsys):
    hang = 'import subprocess, sys; subprocess.run([sys.executable, "-c", "while 1: pass"])'
    parts = [
        ('fails', 1, check.run_script, python('print("some words"); raise SystemExit(3)')),
        ('hangs', 1, check.run_script, python(hang)),
        ('is not there', 1, check.run_script, ['no-such-program']),
        ('operator tests', 1, check.run_script, python('print("good")')),
    ]
    monkeypatch.setattr(check, 'parts', lambda: parts)
    monkeypatch.setattr(check, 'TOTAL', 6.0)
    monkeypatch.setattr(check.device, 'build_command', lambda: python('raise SystemExit(1)'))
    monkeypatch.setattr(check.signal, 'signal', lambda *_: None)
    begun = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code == 1
    assert time.monotonic() - begun < 8
    assert rows(tmp_path) == [
        ('as a whole', 'failed', 'exit status 3'),
        ('as a whole', 'failed', 'out of time'),
        ('as a whole', 'failed', 'could not be started: see the log'),
        ('CUDA extension', 'failed', 'exit status 1'),
        ('as a whole', 'ok', ''),
    ]
    log = (tmp_path / 'gpu.log').read_text()
    assert all(words in log for words in ('some words', 'no-such-program', 'good'))
    assert '| hangs | 1 failed |' in capsys.readouterr().out


def test_the_children_of_a_part_are_stopped_with_it(check, tmp_path):
    child = f'import time; open({str(tmp_path / "child")!r}, "w"); time.sleep(60)'
    code = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    running = check.Running('gpu', python(code))
    while not (tmp_path / 'child').exists():
        time.sleep(0.05)
    assert running.end(0).how == 'out of time'
    found = subprocess.run(['ps', '-A', '-ww', '-o', 'args'], capture_output=True, text=True).stdout
    assert str(tmp_path / 'child') not in found


def test_where_cuda_stopped_a_part_it_runs_again_launch_by_launch(check, tmp_path):
    code = (
        'import os; print(os.environ.get("CUDA_LAUNCH_BLOCKING"), flush=True); '
        'raise SystemExit("CUDA error")'
    )
    check.run_script('part', python(code), time.monotonic() + 20)
    assert '\nNone\nCUDA error' in (tmp_path / 'gpu.log').read_text()
    assert '\n1\nCUDA error' in (tmp_path / 'launch_by_launch.log').read_text()


def test_tests_are_counted_and_those_that_fail_are_named(check, tmp_path):
    file = tmp_path / 'test_some.py'
    file.write_text(
        'import pytest\npytestmark = pytest.mark.gpu\n'
        'def test_good(): pass\ndef test_bad(): assert 0\n'
        'def test_left_out(): pytest.skip()\n'
    )
    check.run_tests('tests', [file], time.monotonic() + 60)
    (name, *_), (count, result, note) = rows(tmp_path)
    assert name.endswith('test_some.py::test_bad')
    assert (count, result) == ('3 tests', 'failed')
    assert note == "exit status 1 {'PASSED': 1, 'FAILED': 1, 'SKIPPED': 1}"


@pytest.mark.parametrize(
    ('printed', 'wanted'),
    [
        ('x PASSED\n==== ERROR SUMMARY: 0 errors', ['ok', 'ok']),
        ('x PASSED\n==== RACECHECK SUMMARY: 2 hazards displayed', ['failed', 'failed']),
        ('==== ERROR SUMMARY: 0 errors', ['failed', 'failed']),  # nothing ran
        ('x PASSED\nunknown option', ['failed'] * 4),  # again without the filter
    ],
)
def test_the_sanitizer_is_taken_at_its_word(check, monkeypatch, tmp_path, printed, wanted):
    monkeypatch.setattr(check.device, 'under', lambda *_: python(f'print({printed!r})'))
    check.run_sanitizer('sanitizer', [], time.monotonic() + 60)
    assert [result for _, result, _ in rows(tmp_path)] == wanted


def test_the_sanitizer_and_the_profiler_look_at_every_kernel_of_ours(check):
    source = (ROOT / 'segkit/ops/csrc/psa_mask.cu').read_text()
    source += (ROOT / 'segkit/ops/triton_kernels.py').read_text()
    kernels = re.findall(r'^def ([a-z]\w+)\(|__global__ [^(]*\([^)]*\)\s+(\w+)', source, re.M)
    kernels = [one or other for one, other in kernels]
    assert len(kernels) >= 5
    assert all(any(name in kernel for name in check.device.OURS) for kernel in kernels)
    assert all(any(name in kernel for kernel in kernels) for name in check.device.OURS)


def test_a_case_that_fails_is_a_row_and_the_next_one_begins(check, monkeypatch, tmp_path, capsys):
    from gpu_bench import Bench, agree

    def bad(*_: object) -> None:
        agree(torch.ones(2), torch.tensor([1.0, 2.0]))

    def lost(*_: object) -> None:
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    monkeypatch.setattr(sys, 'argv', ['gpu_x.py', '--out', str(tmp_path), '--seconds', '60'])
    bench = Bench('part', 'doc')
    bench.run('bad', bad)
    bench.run('good', lambda bench, case: bench.add(case, ms=1.0))
    with pytest.raises(RuntimeError, match='illegal'):
        bench.run('lost', lost)
    bench.until = 0
    bench.run('late', bad)
    assert [row[:2] for row in rows(tmp_path)] == [
        ('bad', 'failed'), ('good', 'ok'), ('lost', 'failed'), ('late', 'not run'),
    ]  # fmt: skip
    assert bench.status == 1
    assert 'Traceback' in capsys.readouterr().err


def test_a_wrong_answer_and_bits_that_vary_are_failures(check, monkeypatch, tmp_path):
    monkeypatch.setattr(check.device, 'DEVICE', 'cpu')
    import gpu_parity
    from gpu_bench import Bench
    from gpu_cases import Case

    calls = []

    def calling(factor: Callable[[int], float]) -> Callable[..., dict[str, torch.Tensor]]:
        def call(module: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
            calls.append(x)
            out = module(x) * factor(len(calls))
            return {'out': out, 'loss': out.square().mean()}

        return call

    monkeypatch.setattr(sys, 'argv', ['gpu_x.py', '--out', str(tmp_path)])
    bench = Bench('part', 'doc')
    for name, factor in {
        'right': lambda _: 1.0,
        'wrong': lambda count: 1.001 ** (count - 1),
        'not a number': lambda count: 1.0 if count == 1 else float('nan'),
    }.items():
        calls.clear()
        inputs = (torch.randn(4, 3, requires_grad=True),)
        case = Case(name, nn.Linear(3, 2), inputs, calling(factor), frozenset())
        bench.run(name, gpu_parity.parity, case, case.answers(), torch.float32)
        bench.run(f'{name} twice', gpu_parity.repeated, case)
    assert [row[:2] for row in rows(tmp_path)] == [
        ('right', 'ok'), ('right twice', 'ok'), ('wrong', 'failed'), ('wrong twice', 'failed'),
        ('not a number', 'failed'), ('not a number twice', 'failed'),
    ]  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_without_a_gpu_it_says_what_to_do(tmp_path):
    done = subprocess.run(
        ['bash', str(HERE / 'gpu_check.sh')], capture_output=True, text=True,
        env={'PATH': '/usr/bin:/bin', 'PYTHON': sys.executable, 'OUT': str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert 'No CUDA device' in done.stderr
    assert 'REHEARSE=1' in done.stderr


def test_the_wheel_folder_holds_what_the_requirements_need():
    listed = {n for n in (ROOT / 'requirements/gpu.txt').read_text().split('\n') if n[:1].isalpha()}
    lines = (ROOT / 'requirements/runtime.txt').read_text().split()
    left, needed = [re.match(r'[\w.-]+', line)[0] for line in lines], set()
    while left:
        name = left.pop().lower().replace('_', '-')
        if name in needed | THERE:
            continue
        needed.add(name)
        for line in importlib.metadata.requires(name) or []:
            if ';' not in line:
                left.append(re.match(r'[\w.-]+', line)[0])
    assert len(needed) >= 8
    assert needed == listed
