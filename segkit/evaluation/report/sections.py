"""The sections of a report page, each a function from the report to HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from .charts import histogram, line_chart, scatter
from .heat_map import heat_map, worst_confusions
from .pictures import Example, jpeg_uri, png_uri

if TYPE_CHECKING:
    from .page import Report

# Curves of a training run, by the picture they go to.
_SCORE_CURVES = ('mIoU', 'mAcc', 'aAcc', 'mDice', 'mFscore')
# Rows from which a table scrolls in its box.
_LONG = 40
# As pictures of labels show it, segkit.visualization.palette.IGNORED.
_IGNORED = (255, 255, 255)
_PHOTOGRAPHS = ('image', 'errors')
# Recall is Acc, and the F-score with beta 1 is Dice: each is shown once.
_COLUMNS = ('IoU', 'Acc', 'Precision', 'Dice')


def number(value: float, digits: int = 2) -> str:
    """A number for a table cell; nothing for nan."""
    return '' if math.isnan(value) else f'{value:,.{digits}f}'


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)
) -> str:
    """Cells are HTML already; columns in ``text`` are set to the left."""
    kinds = [' class="text"' if i in text else '' for i in range(len(headings))]
    head = ''.join(f'<th{kind}>{heading}</th>' for kind, heading in zip(kinds, headings))
    body = ''.join(
        '<tr>' + ''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, row)) + '</tr>'
        for row in rows
    )
    return f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def swatch(colour: Sequence[int]) -> str:
    return '<i class="swatch" style="background:rgb({},{},{})"></i>'.format(*colour)


def facts(report: Report) -> str:
    """A line of facts under the title."""
    cells = [f'<span>{escape(k)} <b>{escape(str(v))}</b></span>' for k, v in report.facts.items()]
    return f'<div class="facts">{"".join(cells)}</div>'


def headline(report: Report) -> str:
    """The numbers one looks for first, and a sentence about classes."""
    known = [name for name, value in report.metrics.items() if not math.isnan(value)]
    order = sorted(known, key=lambda name: 'mIoU' not in name)
    cards = ''.join(
        f'<div class="card{" first" if i == 0 else ""}"><b>{report.metrics[name]:.2f}</b>'
        f'<span>{escape(name)} in %</span></div>'
        for i, name in enumerate(order)
    )
    return f'<div class="cards">{cards}</div>{_sentence(report)}'


def _sentence(report: Report) -> str:
    iou = report.scores.iou
    known = [i for i in np.argsort(np.nan_to_num(iou, nan=2)) if not math.isnan(iou[i])]
    if not known:
        count = len(report.unlabelled)
        shown = f' Predictions for {count:,} of them are shown.' if count else ''
        return f'<p class="lead">No image has labels.{shown}</p>'
    name = [escape(str(n)) for n in report.scores.classes]
    labelled = int((report.scores.label_area > 0).sum())
    text = (
        f'{len(report.sizes):,} images, {labelled} of {len(iou)} classes in the labels. '
        f'Best class: {_with_equals(name, iou, known[-1])} ({100 * iou[known[-1]]:.1f} % IoU); '
        f'hardest: {_with_equals(name, iou, known[0])} ({100 * iou[known[0]]:.1f} %).'
    )
    mixed = worst_confusions(report.scores.matrix, name, 1)
    if mixed:
        label, pred, share, _ = mixed[0]
        text += f' Most often mixed up: <b>{label}</b> taken for <b>{pred}</b> ({share:.1f} %).'
    return f'<p class="lead">{text}</p>'


def _with_equals(names: Sequence[str], iou: np.ndarray, index: int) -> str:
    """The class's name, and how many others have the same IoU."""
    others = int((iou == iou[index]).sum()) - 1
    more = f' and {others} other{"s" if others > 1 else ""}' if others else ''
    return f'<b>{names[index]}</b>{more}'


def curves(report: Report) -> str:
    """Loss, scores and learning rate over the iterations of training."""
    known = report.curves
    losses = {k: v for k, v in known.items() if k == 'loss' or k.split('.')[-1].startswith('loss')}
    scores = {k: known[k] for k in _SCORE_CURVES if k in known}
    if not losses and not scores:
        return ''
    charts = [('Loss', line_chart(losses, 'loss', smoothed=True))] if losses else []
    if scores:
        charts.append(('Validation scores', line_chart(scores, 'percent')))
    if 'lr' in known:
        charts.append(('Learning rate', line_chart({'lr': known['lr']}, 'learning rate')))
    if 'decode.acc_seg' in known:
        accuracy = {k: v for k, v in known.items() if k.endswith('acc_seg')}
        charts.append(('Training accuracy', line_chart(accuracy, 'percent', smoothed=True)))
    boxes = ''.join(f'<div class="box"><h3>{h}</h3>{chart}</div>' for h, chart in charts)
    return f'<div class="two">{boxes}</div>'


def classes(report: Report) -> str:
    """Bars and numbers of every class."""
    scores = report.scores
    columns = {name: scores.per_class()[name] for name in _COLUMNS}
    share = 100 * scores.label_area / max(scores.matrix.sum(), 1)
    rows = []
    for i, name in enumerate(scores.classes):
        iou = columns['IoU'][i]
        bar = f'<i><b style="width:{iou:.1f}%"></b></i>' if iou > 0 else '<i></i>'
        values = [number(float(column[i])) for column in columns.values()]
        counts = [number(float(share[i])), f'{int(report.images_with_class[i]):,}']
        rows.append([swatch(report.palette[i]) + escape(str(name)), bar, *values, *counts])
    headings = ['Class', '', *columns, '% of pixels', 'Images']
    marked = table(headings, rows).replace('<td><i>', '<td class="meter"><i>')
    long = ' long' if len(rows) > _LONG else ''
    return f'<div class="box{long}">{marked}</div>'


def confusion(report: Report) -> str:
    """The matrix, and its largest entries off the diagonal."""
    names = report.scores.classes
    mixed = worst_confusions(report.scores.matrix, names)
    rows = [
        [escape(str(a)), escape(str(b)), number(share), f'{pixels:,}']
        for a, b, share, pixels in mixed
    ]
    most = table(['Label', 'Predicted as', '% of label', 'Pixels'], rows, text=(0, 1))
    note = '<p class="muted">Rows are labels, columns predictions; each row sums to 100 %.</p>'
    seen = np.flatnonzero(report.scores.matrix.sum(0) + report.scores.matrix.sum(1)).tolist()
    picture = heat_map(report.scores.matrix[np.ix_(seen, seen)], [str(names[i]) for i in seen])
    hidden = len(names) - len(seen)
    if hidden:
        note += f'<p class="muted">{hidden} classes in no label and no prediction are left out.</p>'
    layout = 'two' if len(seen) <= 13 else 'stack'
    return (
        f'<div class="{layout}"><div class="box">{note}{picture}</div>'
        f'<div class="box"><h3>Most pixels mixed up</h3>{most}</div></div>'
    )


def worst(report: Report) -> str:
    return ''.join(_example(report, example, 'bad') for example in report.examples[0])


def best(report: Report) -> str:
    return ''.join(_example(report, example, 'good') for example in report.examples[1])


def unlabelled(report: Report) -> str:
    return ''.join(_example(report, example, '') for example in report.unlabelled)


def _example(report: Report, example: Example, kind: str) -> str:
    figures = ''.join(
        f'<figure><img alt="{escape(title)} of {escape(example.name, quote=True)}" '
        f'src="{(jpeg_uri if title in _PHOTOGRAPHS else png_uri)(panel)}">'
        f'<figcaption>{escape(title)}</figcaption></figure>'
        for title, panel in example.panels.items()
    )
    shown = [(report.palette[i], str(report.scores.classes[i])) for i in example.present]
    legend = ''.join(
        f'<span>{swatch(colour)}{escape(name)}</span>'
        for colour, name in [*shown, *([(_IGNORED, 'ignored')] if kind else [])]
    )
    scores = (
        f'<span>mIoU <b class="{kind}">{example.score:.1f} %</b></span>'
        f'<span class="muted">pixel accuracy {example.accuracy:.1f} %</span>'
    )
    height, width = example.size
    return (
        f'<div class="box example"><header><b>{escape(example.name)}</b>{scores if kind else ""}'
        f'<span class="muted">{width} x {height}</span></header>'
        f'<div class="panels">{figures}</div><div class="legend">{legend}</div></div>'
    )


def statistics(report: Report) -> str:
    """How images and classes spread: scores, sizes, frequency."""
    scores = report.scores
    share = 100 * scores.label_area / max(scores.matrix.sum(), 1)
    dots = scatter(
        [str(n) for n in scores.classes], share, 100 * scores.iou, report.palette,
        ('% of labelled pixels', 'IoU in %'),
    )  # fmt: skip
    bars = histogram(report.image_scores, 'mIoU of an image in %')
    sizes = Counter(map(tuple, report.sizes.tolist()))
    rows = [
        [f'{w} x {h}', f'{count:,}', number(100 * count / len(report.sizes), 1)]
        for (h, w), count in sorted(sizes.items(), key=_often)[:8]
    ]
    more = len(sizes) - len(rows)
    note = f'<p class="muted">and {more:,} other sizes</p>' if more > 0 else ''
    listed = table(['Width x height', 'Images', '%'], rows) + note
    return (
        f'<div class="two"><div class="box"><h3>Images by score</h3>{bars}</div>'
        f'<div class="box"><h3>Frequent classes and rare ones</h3>{dots}</div></div>'
        f'<div class="box below"><h3>Image sizes</h3>{listed}</div>'
    )


def _often(entry: tuple[tuple, int]) -> tuple:
    """Most images first, then by size: the same page in whatever order images came."""
    size, count = entry
    return -count, size


def run(report: Report) -> str:
    """Timings, environment and the whole configuration."""
    parts = []
    for heading, entries in (('Timings', report.timings), ('Environment', report.environment)):
        if entries:
            rows = [[escape(str(k)), escape(str(v))] for k, v in entries.items()]
            listed = table(['', ''], rows, text=(0, 1))
            parts.append(f'<div class="box pairs"><h3>{heading}</h3>{listed}</div>')
    boxes = f'<div class="two">{"".join(parts)}</div>' if parts else ''
    if not report.config:
        return boxes
    text = escape(report.config)
    return (
        f'{boxes}<details class="below"><summary>Configuration</summary><pre>{text}</pre></details>'
    )
