"""Test a published checkpoint on the data on disk and compare with the published figure.

Each protocol is one run of ``tools/test.py`` in a process of its own, just as a user would type
it, so the comparison covers what people run and not a path beside it.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from segkit.__main__ import tools
from segkit.json_file import read_json

from .catalog import ABSENT, Row
from .markdown import PROTOCOLS
from .measured import Measurement


class VerifyError(RuntimeError):
    """A verification could not be made; the message says why and what to do."""


def verify(
    row: Row, checkpoint: Path, tolerance: float, options: Sequence[str] = (), ms_flip: bool = False
) -> Measurement:
    """Run one protocol for one row.

    Args:
        options: KEY=VALUE settings of the test.
        tolerance: percentage points of mIoU by which the figures may differ.

    Raises:
        VerifyError: the test did not finish; holds the last lines of its output.
    """
    with tempfile.TemporaryDirectory(prefix='segkit_verify_') as folder:
        result = _run(row, checkpoint, options, ms_flip, Path(folder))
    published = row.figure(ms_flip)
    miou = result['metrics']['mIoU']
    return Measurement(
        config=row.config,
        checkpoint=checkpoint.name,
        protocol=PROTOCOLS[ms_flip],
        miou=f'{miou:.2f}',
        published=ABSENT if published is None else f'{published:.2f}',
        tolerance=f'{tolerance:g}',
        verdict=verdict_on(miou, published, tolerance),
        images=str(result['images']),
        date=datetime.now(timezone.utc).strftime('%Y-%m-%d'),
        **_where(),
    )


def verdict_on(miou: float, published: float | None, tolerance: float) -> str:
    """'agrees' when the two-decimal figures differ by no more than ``tolerance`` points."""
    if published is None:
        return 'no published figure'
    # The page rounds to two decimals; 1e-9 keeps 0.1 from failing a tolerance of 0.1.
    agrees = abs(round(miou, 2) - published) <= tolerance + 1e-9
    return 'agrees' if agrees else 'differs'


def _run(row: Row, checkpoint: Path, options: Sequence[str], ms_flip: bool, folder: Path) -> dict:
    stem = folder / 'result'
    command = [
        sys.executable, str(tools()['test']), row.config, str(checkpoint),
        '--work-dir', str(folder / 'work'), *(['--aug-test'] if ms_flip else []),
        '--cfg-options', f'test_evaluator.result_file={stem}', *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    result = stem.with_suffix('.json')
    if done.returncode != 0 or not result.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise VerifyError(
            f'{row.config}: the test ended with status {done.returncode}.\n'
            + '\n'.join(lines[-6:])
            + f'\nThe command was: {shlex.join(command)}'
        )
    return read_json(result)


def _where() -> dict[str, str]:
    from segkit.engine.env import collect_env, commit

    env = collect_env()
    names = ('platform', 'cpus', 'gpus', 'torch', 'mmengine', 'mmcv', 'opencv')
    return {'commit': commit(), 'environment': '; '.join(f'{name} {env[name]}' for name in names)}
