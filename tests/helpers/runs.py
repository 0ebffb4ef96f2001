"""Training runs in tests: start one, stop it somewhere, compare what two of them ended with."""

from pathlib import Path

import torch
from helpers.tiny_config import tiny_config

from segkit.engine import Runner


def train(work_dir: Path, **options) -> Runner:
    """Train the tiny config with ``options`` to its end; returns the Runner."""
    runner = Runner.from_cfg(tiny_config(work_dir, **options))
    runner.train()
    return runner


class CrashError(Exception):
    """Raised inside a run to end it like a crash."""


def train_until(work_dir: Path, iteration: int, **options) -> None:
    """Train, and crash in the forward pass of the iteration after ``iteration``."""
    runner = Runner.from_cfg(tiny_config(work_dir, **options))
    step = runner.model.train_step

    def crash_or_step(*args, **kwargs):
        if runner.iter == iteration:
            raise CrashError
        return step(*args, **kwargs)

    runner.model.train_step = crash_or_step
    try:
        runner.train()
    except CrashError:
        return
    raise AssertionError(f'the run ended before iteration {iteration}')


def read(path: Path) -> dict:
    """A checkpoint, read the way anybody can."""
    return torch.load(path, weights_only=True)


def differences(a: object, b: object, path: str = '') -> list[str]:
    """Paths at which two nested structures of tensors and values are not bit-equal."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {**a, **b} if k not in a or k not in b]
        found = [f'{path}.{k} on one side' for k in keys]
        common = [k for k in a if k in b]
        return found + [d for k in common for d in differences(a[k], b[k], f'{path}.{k}')]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        return [d for i in range(len(a)) for d in differences(a[i], b[i], f'{path}[{i}]')]
    return [] if a == b else [f'{path}: {a!r} != {b!r}']


_CLOCK = ('train/time', 'train/data_time', 'val/time', 'val/data_time')


def assert_same_run(a: Path, b: Path) -> None:
    """Weights, optimizer, schedule, averages and logged losses of two checkpoints, bit for bit."""
    one, two = read(a), read(b)
    for checkpoint in (one, two):
        for key in ('message_hub', 'meta'):
            part = checkpoint.pop(key)
            if key == 'message_hub':
                history = part['history']
                checkpoint['log'] = {k: v for k, v in history.items() if k not in _CLOCK}
                checkpoint['best'] = part['runtime_info'].get('best_checkpoints')
            else:
                checkpoint['place'] = [part['iter'], part['samples_seen'], part['seed']]
    found = differences(one, two)
    assert not found, found
