"""Every call that only a GPU can take, each beside what stands in for it in a rehearsal on the CPU.

The rest of the GPU command's code (gpu_*.py) runs in a rehearsal as it does on a GPU; nothing is
measured there. gpu_lines.py counts the lines that did not run.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
REHEARSAL = os.environ.get('SEGKIT_GPU_REHEARSAL') == '1'
DEVICE = 'cpu' if REHEARSAL else 'cuda'
BACKEND = 'gloo' if REHEARSAL else 'nccl'
PROVIDER = 'CPUExecutionProvider' if REHEARSAL else 'CUDAExecutionProvider'
COMPILER = 'aot_eager' if REHEARSAL else 'inductor'
MIB = 2**20
# Only our own kernels: torch's are many, and instrumenting them takes minutes.
OURS = ('psa_mask', 'softmax_rows', 'softmax_columns', 'exp_rows', 'backward_rows')
FILTER = [word for name in OURS for word in ('--kernel-name', f'kernel_substring={name}')]
MEMCHECK, RACECHECK = (['compute-sanitizer', '--tool', name] for name in ('memcheck', 'racecheck'))
TOOLS = {
    'memcheck': [*MEMCHECK, *FILTER], 'memcheck of all': MEMCHECK,
    'racecheck': [*RACECHECK, *FILTER], 'racecheck of all': RACECHECK,
    'counters': ['ncu', '--clock-control', 'none', '--set', 'basic', '--section',
                 'MemoryWorkloadAnalysis', '-k', f'regex:{"|".join(OURS)}', '-c', '60'],
}  # fmt: skip


def missing() -> str:
    """Why the command cannot run here, as a sentence; empty where it can."""
    if REHEARSAL or torch.cuda.is_available():
        return ''
    return (
        f'No CUDA device: torch {torch.__version__} of {sys.executable} sees none. REHEARSE=1 runs '
        'every part on the CPU, small, and measures nothing.'
    )


def machine() -> str:
    """Card and torch, for the last column of a row."""
    name = 'rehearsal on a CPU' if REHEARSAL else torch.cuda.get_device_name()
    return f'{name}, torch {torch.__version__}'


def cards() -> int:
    """How many processes the distributed part starts."""
    return 2 if REHEARSAL else min(2, torch.cuda.device_count())


def under(tool: str, command: list[str]) -> list[str]:
    """``command`` under one of TOOLS."""
    return command if REHEARSAL else [*TOOLS[tool], *command]


def build_command() -> list[str]:
    """Builds the CUDA extension into this checkout."""
    return (
        [sys.executable, '-c', ''] if REHEARSAL else [sys.executable, '-m', 'segkit.ops.build_ext']
    )


def exact_products() -> None:
    """float32 products in float32: cuDNN takes TF32, of ten bits, unless told."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def release() -> None:
    """Hand cached memory back, before the next case and after one that ran out of it."""
    if not REHEARSAL:
        torch.cuda.empty_cache()


def seconds(call: Callable[[], object]) -> float:
    """Of one call, by the GPU's clock."""
    if REHEARSAL:
        call()
        return 1.0
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def peak_mib(call: Callable[[], object]) -> float:
    """Peak memory of a call beyond what was allocated before it."""
    if REHEARSAL:
        return 1.0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / MIB


def context_is_lost(error: Exception) -> bool:
    """After an illegal access nothing more runs in this process; out of memory is no such thing."""
    return 'CUDA error' in str(error) and not isinstance(error, torch.OutOfMemoryError)


def watch(seconds: float, ended: Callable[[], bool]) -> list[float]:
    """Busy share of the GPU, in percent, twice a second until the time is up or ``ended``."""
    until, shares = time.monotonic() + seconds, []
    query = [
        'nvidia-smi',
        '--query-gpu=utilization.gpu',
        '--format=csv,noheader,nounits',
        '-i',
        '0',
    ]
    while time.monotonic() < until and not ended():
        time.sleep(0.5)
        text = '50' if REHEARSAL else subprocess.run(query, capture_output=True, text=True).stdout
        shares += [float(word) for word in text.split() if word.isdigit()]
    return shares
