"""Scores as text for the log, and as JSON and CSV for everything that reads them later."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Sequence

from prettytable import PrettyTable

from segkit.shared_text import cell
from segkit.whole_file import write_text

from .scores import COLUMNS, METRIC_GROUPS, Scores


def format_table(headings: Sequence[str], rows: Iterable[Sequence[object]], texts: int = 1) -> str:
    """An aligned table: the first ``texts`` columns to the left, numbers with two decimals."""
    table = PrettyTable(list(headings), align='r', float_format='.2')
    for heading in headings[:texts]:
        table.align[heading] = 'l'
    table.add_rows([list(row) for row in rows])
    return table.get_string()


def class_table(scores: Scores, iou_metrics: Sequence[str] = ('mIoU',)) -> str:
    """The per-class table of a log, in percent; absent classes show nan."""
    wanted = list(dict.fromkeys(h for metric in iou_metrics for h in METRIC_GROUPS[metric]))
    columns = scores.per_class(wanted)
    rows = [
        [name, *(float(column[i]) for column in columns.values())]
        for i, name in enumerate(scores.classes)
    ]
    return format_table(['Class', *wanted], rows)


def to_json(scores: Scores, **info: object) -> dict:
    """Everything about a test as plain JSON types; nan becomes null, which is valid JSON."""
    classes = [
        {
            'class': name,
            **{heading: _number(values[i]) for heading, values in scores.per_class().items()},
            'label_pixels': int(scores.label_area[i]),
            'pred_pixels': int(scores.pred_area[i]),
        }
        for i, name in enumerate(scores.classes)
    ]
    summary = {k: _number(v) for k, v in scores.summary().items()}
    return {
        **info,
        'metrics': summary,
        'classes': classes,
        'confusion_matrix': scores.matrix.tolist(),
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def write_json(path: str | os.PathLike, scores: Scores, **info: object) -> None:
    """Write ``to_json`` to a file, whole or not at all."""
    write_text(path, json.dumps(to_json(scores, **info), indent=1))


def write_csv(path: str | os.PathLike, scores: Scores) -> None:
    """One row a class, a last row ``mean``; absent classes have empty cells."""
    content = to_json(scores)
    rows = [[cell(entry.pop('class')), *entry.values()] for entry in content['classes']]
    means = [content['metrics'][f'm{heading}'] for heading in COLUMNS]
    headings = ['class', *content['classes'][0]]
    write_table(path, [headings, *rows, ['mean', *means, '', '']])


def write_table(path: str | os.PathLike, rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, whole or not at all; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    write_text(path, text.getvalue())
