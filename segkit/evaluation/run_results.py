"""What a run scored, from whatever it left behind.

A result file of ``IoUMetric(result_file=...)``, or a work directory: the ``results.json`` that a
test left there, else the last values of every scalar, per-class IoU among them; and the config that
was dumped beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from segkit.errors import EvaluationError
from segkit.json_file import read_json

from .scalars import read_curves, scalar_files

_CLASS = 'class_IoU/'
_SCORES = ('aAcc', 'mIoU', 'mAcc', 'FWIoU', 'mDice', 'mFscore', 'mPrecision', 'mRecall', 'mBIoU')


@dataclass
class RunResults:
    """Scores of one run.

    Args:
        name: as shown.
        metrics: name -> percentage.
        classes: class -> IoU in percent.
        config: path of its config, where there is one.
        of: which test or validation the scores are of.
    """

    name: str
    metrics: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float] = field(default_factory=dict)
    config: Path | None = None
    of: str = ''


def read_run(path: str | Path) -> RunResults:
    """Results of a work directory, a result .json or a config .py.

    Raises:
        EvaluationError: there is nothing to read.
    """
    path = Path(path)
    if not path.exists():
        raise EvaluationError(f'{path}: no such work directory or result file.')
    if path.suffix == '.py':
        return RunResults(path.stem, config=path)
    if path.suffix == '.json':
        return _of_result_file(path)
    if path.is_file():
        raise EvaluationError(
            f'{path}: give a work directory, a result file (.json) or a config (.py).'
        )
    configs = list(path.glob('*.py')) or list(path.glob('*/vis_data/config.py'))
    configs.sort(key=lambda config: config.stat().st_mtime)
    curves = read_curves(scalar_files(path))
    if not curves and not configs:
        raise EvaluationError(f'{path}: holds neither a config nor vis_data/scalars.json of a run.')
    last = {name: values[-1] for name, (_, values) in curves.items()}
    config = configs[-1] if configs else None
    if (path / 'results.json').is_file():  # a test's, which is more than the last validation's
        tested = _of_result_file(path / 'results.json')
        return RunResults(path.name, tested.metrics, tested.classes, config, tested.of)
    scores = {k: v for k, v in last.items() if k in _SCORES}
    classes = {k.removeprefix(_CLASS): v for k, v in last.items() if k.startswith(_CLASS)}
    step = max((curves[name][0][-1] for name in scores), default=None)
    of = '' if step is None else f'its last validation, step {step:g}'
    return RunResults(path.name, scores, classes, config, of)


def _of_result_file(path: Path) -> RunResults:
    try:
        data = read_json(path)
        classes = {str(entry['class']): _number(entry['IoU']) for entry in data['classes']}
        metrics = {str(name): _number(value) for name, value in data['metrics'].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EvaluationError(
            f'{path}: not a result file; IoUMetric(result_file=...) writes them.'
        ) from None
    return RunResults(
        path.stem,
        {k: v for k, v in metrics.items() if v is not None},
        {k: v for k, v in classes.items() if v is not None},
        of=_tested(data),
    )


def _number(value: object) -> float | None:
    if value is not None and not isinstance(value, (int, float)):
        raise TypeError(f'{value!r} is no score')
    return value


def _tested(data: dict) -> str:
    """What a result file says of the test that wrote it."""
    checkpoint = Path(str(data['checkpoint'])).name if data.get('checkpoint') else ''
    protocol = f' ({data["protocol"]})' if data.get('protocol') else ''
    images = f', {data["images"]} images' if data.get('images') else ''
    return f'a test{" of " * bool(checkpoint)}{checkpoint}{protocol}{images}'


def differing(a: dict, b: dict) -> list[tuple[str, object, object]]:
    """(key, in a, in b) of keys that differ, in order; missing ones show as '-'."""
    keys = dict.fromkeys([*a, *b])
    pairs = [(key, a.get(key, '-'), b.get(key, '-')) for key in keys]
    return [(key, x, y) for key, x, y in pairs if x != y]
