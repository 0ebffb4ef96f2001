"""Charts as image files, by matplotlib (imported here only, when something is plotted)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from segkit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ChartFormatError(UserError):
    """A chart is asked for in a format that it cannot be written in."""


Points = tuple[Sequence[float], Sequence[float]]


def plot_curves(
    curves: Mapping[str, Mapping[str, Points]], path: str | os.PathLike, title: str = ''
) -> None:
    """One panel a scalar, one line a run: scalar -> run -> (steps, values)."""
    columns = min(2, len(curves))
    rows = -(-len(curves) // columns)
    figure, axes = _grid(rows, columns, (6.4 * columns, 3.8 * rows))
    # A run keeps its colour in the panels of scalars that another run lacks.
    names = dict.fromkeys(run for runs in curves.values() for run in runs)
    colours = {run: f'C{i}' for i, run in enumerate(names)}
    for axis, (scalar, runs) in zip(axes, curves.items()):
        for run, (steps, values) in runs.items():
            mark = 'o' if len(steps) <= 60 else None
            style = dict(color=colours[run], marker=mark, markersize=3, linewidth=1.4)
            axis.plot(steps, values, label=run, **style)
        axis.set_title(scalar, fontsize=11, loc='left')
        axis.set_xlabel('iteration')
        axis.grid(alpha=0.25)
        axis.spines[['top', 'right']].set_visible(False)
        axis.legend(frameon=False, fontsize=9)
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    if title:
        figure.suptitle(title, x=0.01, ha='left', fontsize=13)
    _save(figure, path)


def plot_confusion(
    shares: np.ndarray, classes: Sequence[str], path: str | os.PathLike, title: str = ''
) -> None:
    """(K, K) percent of each label's pixels; numbers in the cells up to 25 classes."""
    k = len(classes)
    side = max(5.0, 0.42 * k if k <= 25 else 0.16 * k) + 1.5
    figure, (axis,) = _grid(1, 1, (side + 1, side))
    shown = axis.imshow(np.sqrt(np.nan_to_num(shares) / 100), cmap='Blues', vmin=0, vmax=1)
    size = 9 if k <= 25 else 5
    axis.set_xticks(range(k), classes, rotation=90, fontsize=size)
    axis.set_yticks(range(k), classes, fontsize=size)
    axis.set(xlabel='prediction', ylabel='label')
    axis.set_title(title, loc='left')
    ticks = [0, 1, 5, 10, 25, 50, 100]
    bar = figure.colorbar(shown, ax=axis, ticks=np.sqrt(np.array(ticks) / 100), shrink=0.7)
    bar.ax.set_yticklabels([f'{tick} %' for tick in ticks])
    if k <= 25:
        _write_numbers(axis, shares)
    _save(figure, path)


def _write_numbers(axis: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            colour = 'white' if share > 30 else '#222'
            axis.text(
                column, row, f'{share:.0f}', ha='center', va='center', fontsize=8, color=colour
            )


def _grid(rows: int, columns: int, size: tuple[float, float]) -> tuple:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def check_format(path: str | os.PathLike) -> None:
    """Refuse a file name that says no format a chart can be written in."""
    known = ('.png', '.svg', '.pdf', '.jpg')
    if os.path.splitext(path)[1].lower() not in known:
        raise ChartFormatError(f'{path}: name a chart with one of {", ".join(known)}.')


def _save(figure: Figure, path: str | os.PathLike) -> None:
    check_format(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    # 'tight': a square picture leaves the layout too little room for the axis' name.
    figure.savefig(path, dpi=130, bbox_inches='tight')
