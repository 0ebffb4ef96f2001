"""The scalars of a run: class scores sent to whatever it logs to, and curves read back from it.

mmengine's LocalVisBackend appends one JSON object a line to
``WORK_DIR/TIME/vis_data/scalars.json``. A run that was resumed has several such folders; what was
logged later replaces the same step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mmengine.logging import MessageHub
from mmengine.visualization import Visualizer

from segkit.json_file import JsonError, parse_json

from .scores import Scores

Curves = dict[str, tuple[list[int], list[float]]]


def publish_class_scores(scores: Scores) -> None:
    """Send IoU and accuracy of each class in percent as ``class_IoU/NAME``, ``class_Acc/NAME``.

    Does nothing where no run has made a visualizer. The step is the current iteration of training.
    """
    # Asking mmengine for the current instance would make one, and warn.
    if not Visualizer._instance_dict:
        return
    step = int(MessageHub.get_current_instance().get_info('iter') or 0)
    values = {
        f'class_{heading}/{name}': float(score)
        for heading, column in scores.per_class(('IoU', 'Acc')).items()
        for name, score in zip(scores.classes, column)
        if not np.isnan(score)
    }
    Visualizer.get_current_instance().add_scalars(values, step=step)


def scalar_files(work_dir: str | os.PathLike) -> list[Path]:
    """The scalar files below a folder, oldest run first; a file stands for itself."""
    path = Path(work_dir)
    if path.is_file():
        return [path]
    return sorted(path.glob('**/vis_data/scalars.json'))


def read_curves(files: Iterable[str | os.PathLike]) -> Curves:
    """All numbers in the files by name, sorted by step. Lines cut short by a crash are left out."""
    points: dict[str, dict[int, float]] = {}
    for file in files:
        for line in Path(file).read_text('utf-8', 'replace').splitlines():
            for name, step, value in _numbers(line):
                points.setdefault(name, {})[step] = value
    return {
        name: ([step for step, _ in sorted(p.items())], [value for _, value in sorted(p.items())])
        for name, p in points.items()
    }


def _numbers(line: str) -> list[tuple[str, int, float]]:
    try:
        entry = parse_json(line, 'scalars')
    except JsonError:
        return []
    if not isinstance(entry, dict) or not isinstance(entry.get('step'), int):
        return []
    step = entry.pop('step')
    return [
        (name, step, float(value))
        for name, value in entry.items()
        if isinstance(value, float) or isinstance(value, int) and abs(value) < 1 << 1000
    ]


def smooth(values: list[float], part: float = 0.06) -> list[float]:
    """Mean over ``part`` of the curve, centred, so that it does not lag behind.

    A curve too short for three points in that part stays as it is.
    """
    half = round(len(values) * part / 2)
    total = [0.0]
    for value in values:
        total.append(total[-1] + value)
    spans = [(max(0, i - half), min(len(values), i + half + 1)) for i in range(len(values))]
    return [(total[end] - total[start]) / (end - start) for start, end in spans]
