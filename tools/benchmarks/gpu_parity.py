"""Every network, loss, pixel sampler, form of attention and operator on the GPU against the CPU.

    python tools/benchmarks/gpu_parity.py

A row each in float32 (the GPU's products too), bfloat16 and float16 autocast, against float32 on
the CPU: error is the larger of the outputs' and the gradient's share of its bar, both relative in
the L2 norm. And a row for two runs under --deterministic, whose bits must be equal.
"""

import os

os.environ['CUBLAS_WORKSPACE_CONFIG'] = ':4096:8'  # read when CUDA starts

import gpu_cases
import gpu_device as device
import torch
from gpu_bench import Bench
from gpu_cases import Answers, Case

from segkit.engine.data_order import make_deterministic

# Largest error of outputs and of gradients, and the scale of the loss. A CPU's own half precision
# is off by half of these at most.
BARS = {
    torch.float32: (2e-4, 2e-3, 1.0),
    torch.bfloat16: (0.06, 0.4, 1.0),
    torch.float16: (0.01, 0.2, 1024.0),
}
# A sweep that finds less has lost something; more is always welcome.
LEAST = {'network': 7, 'loss': 6, 'attention': 40, 'operator': 6}


def off(got: torch.Tensor, want: torch.Tensor) -> float:
    """Relative error in the L2 norm; infinite where there is none."""
    error = float((got.float().cpu() - want).norm() / want.norm())
    return error if error == error else float('inf')


def parity(bench: Bench, name: str, case: Case, want: Answers, dtype: torch.dtype) -> None:
    values, gradients, scale = BARS[dtype]
    with torch.autocast(device.DEVICE, dtype, enabled=dtype != torch.float32):
        got = case.to(device.DEVICE).answers(scale)
    errors = {key: off(got[key], want[key]) for key in want}
    share = max(e / (gradients if key == 'gradient' else values) for key, e in errors.items())
    note = ' '.join(f'{key} {error:.1e}' for key, error in errors.items())
    bench.add(name, 'ok' if share <= 1 else 'failed', error=share, note=note)


def repeated(bench: Bench, name: str, case: Case) -> None:
    """In training mode, as a training under --deterministic --amp does it and as one without."""
    differ = []
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast(device.DEVICE, dtype, enabled=dtype != torch.float32):
            runs = [case.to(device.DEVICE) for _ in range(2)]
            one, two = (run._replace(module=run.module.train()).answers() for run in runs)
        differ += [f'{dtype} {key}' for key in one if not torch.equal(one[key], two[key])]
    bench.add(name, 'failed' if differ else 'ok', note=', '.join(differ))


def main() -> None:
    bench = Bench('parity', __doc__)
    device.exact_products()
    cases = list(gpu_cases.cases())
    for case in cases:
        want = case.answers()
        for dtype in BARS:
            bench.run(f'{case.name} {dtype}', parity, case, want, dtype)
    make_deterministic()
    for case in cases:
        bench.run(f'twice: {case.name}', repeated, case)
    kinds = [case.name.split()[0] for case in cases]
    counts = {kind: kinds.count(kind) for kind in LEAST}
    lost = gpu_cases.uncovered({name for case in cases for name in case.swept})
    enough = not lost and all(counts[kind] >= least for kind, least in LEAST.items())
    note = f'{counts}, left out: {lost}'
    bench.add('all that the registries hold', 'ok' if enough else 'failed', note=note)
    raise SystemExit(bench.status)


if __name__ == '__main__':
    main()
