"""Charts by matplotlib (imported here alone, when one is drawn): as files, and as SVG in a page.

    save(curves({'loss': {'run': (steps, values)}}), 'loss.png')
    svg(histogram(values, 'IoU in %'), 'images by IoU')

A colour of ``COLOURS`` becomes the page's variable of that name, which is another one in a dark
theme; a part that ``_tip`` names tells more when it is pointed at.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from html import escape
from typing import TYPE_CHECKING, BinaryIO, ParamSpec

import numpy as np

from segkit.errors import UserError
from segkit.evaluation.scalars import smooth
from segkit.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[Sequence[float], Sequence[float]]
Params = ParamSpec('Params')

# As style.css has them for a light background.
COLOURS = dict(
    c1='#2f6fed', c2='#e4572e', c3='#2a9d6f', c4='#a05fd6', c5='#d99a15', c6='#17a2b8',
    fg='#1d2430', muted='#667085', line='#e3e7ee',
)  # fmt: skip
_LINES = list(COLOURS.values())[:6]
_STYLE: dict = {
    'text.parse_math': False, 'svg.fonttype': 'none', 'svg.hashsalt': 'segkit',
    'font.size': 11, 'axes.labelsize': 11,
    'text.color': COLOURS['muted'], 'axes.labelcolor': COLOURS['muted'],
    'xtick.color': COLOURS['muted'], 'ytick.color': COLOURS['muted'],
    'axes.edgecolor': COLOURS['muted'], 'axes.spines.left': False, 'axes.spines.top': False,
    'axes.spines.right': False, 'xtick.bottom': False, 'ytick.left': False, 'axes.grid': True,
    'grid.color': COLOURS['line'], 'axes.axisbelow': True, 'legend.frameon': False,
    'path.simplify_threshold': 0.5,  # of a pixel
}  # fmt: skip
_FORMATS = ('.png', '.svg', '.pdf', '.jpg')
_MARKED = 60  # points of a line up to which each is marked
_UNSMOOTHED = 30  # a mean over three of so few points would hide them
_NUMBERED = 25  # classes up to which the cells of a matrix hold numbers


class ChartFormatError(UserError):
    """A chart is asked for in a format that it cannot be written in."""


def _styled(draw: Callable[Params, Figure]) -> Callable[Params, Figure]:
    @wraps(draw)
    def styled(*args: Params.args, **kwargs: Params.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def curves(
    scalars: Mapping[str, Mapping[str, Points]], title: str = '', smoothed: bool = False
) -> Figure:
    """One panel a scalar, one line a name: scalar -> name -> (steps, values).

    A name keeps its colour in the panels of scalars that another lacks. ``smoothed`` draws the
    mean over a part of each line, and the line itself faintly behind.
    """
    columns = min(2, len(scalars))
    rows = -(-len(scalars) // columns)
    figure, axes = _panels(rows, columns, (7.8 * columns, 3.8 * rows))
    names = dict.fromkeys(name for lines in scalars.values() for name in lines)
    colours = {name: _LINES[i % len(_LINES)] for i, name in enumerate(names)}
    for axis, (scalar, lines) in zip(axes, scalars.items()):
        for name, points in lines.items():
            _line(axis, name, *points, colours[name], smoothed)
        axis.set(xlabel='iteration', ylabel=scalar)
        _set_range(axis, [v for _, values in lines.values() for v in values if math.isfinite(v)])
        axis.xaxis.set_major_formatter('{x:,.0f}')
    for axis in axes[len(scalars) :]:
        axis.set_visible(False)
    handles = [axes[0].plot([], color=colour, label=name)[0] for name, colour in colours.items()]
    figure.legend(handles=handles, loc='outside lower left', ncols=4)
    figure.suptitle(title, x=0.01, ha='left', fontsize=14, color=COLOURS['fg'])
    return figure


def _line(
    axis: Axes, name: str, steps: Sequence, values: Sequence, colour: str, smoothed: bool
) -> None:
    kept = [(s, v) for s, v in zip(steps, values) if math.isfinite(v)]
    steps, values = [s for s, _ in kept], [v for _, v in kept]
    smoothed = smoothed and len(steps) > _UNSMOOTHED
    axis.plot(steps, values, color=colour, alpha=0.25 if smoothed else 1)
    if smoothed:
        axis.plot(steps, smooth(values), color=colour)
    elif len(steps) <= _MARKED:
        for step, value in zip(steps, values):
            (dot,) = axis.plot(step, value, 'o', color=colour, markersize=5)
            dot.set_gid(f'tip:{name}: {value:.4g} at {step}')


def _set_range(axis: Axes, values: Sequence[float]) -> None:
    """Of the vertical axis: a few spikes at the start of training would flatten the rest."""
    if not values:
        return
    high = float(np.quantile(values, 0.995)) if len(values) > 200 else max(values)
    low = min(min(values), 0.0) if min(values) < 0.4 * high else min(values)
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    axis.set_ylim(low - (pad if low else 0), high + pad)


@_styled
def histogram(values: np.ndarray | Sequence[float], label: str, bins: int = 20) -> Figure:
    """How many images fall into each of ``bins`` equal parts of 0 to 100."""
    from matplotlib.ticker import MaxNLocator

    figure, (axis,) = _panels(1, 1, (7.8, 3.6))
    counts, edges = np.histogram(np.clip(values, 0, 100), bins, (0, 100))
    bars = axis.bar(edges[:-1], counts, 92 / bins, align='edge', color=COLOURS['c1'])
    for count, left, right, bar in zip(counts, edges, edges[1:], bars):
        bar.set_gid(f'tip:{left:g} to {right:g} %: {count} images')
    axis.set(xlabel=label, ylabel='images', xlim=(0, 100))
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


@_styled
def scatter(
    names: Sequence[str], xs: np.ndarray, ys: np.ndarray, colours: Sequence, labels: tuple[str, str]
) -> Figure:
    """A dot a name at (x, y), both in percent, x logarithmic; those without pixels are left out."""
    figure, (axis,) = _panels(1, 1, (7.8, 3.6))
    shown = [i for i in range(len(names)) if xs[i] > 0 and not math.isnan(ys[i])]
    low = 10 ** math.floor(math.log10(min([10, *(xs[i] for i in shown)])))
    axis.set(xscale='log', xlim=(low, 100), ylim=(0, 105), xlabel=labels[0], ylabel=labels[1])
    axis.xaxis.set_major_formatter('{x:g}')
    for i in shown:
        (dot,) = axis.plot(xs[i], ys[i], 'o', markersize=11, color=[c / 255 for c in colours[i]])
        dot.set_markeredgecolor(COLOURS['muted'])
        dot.set_gid(f'tip:{names[i]}: IoU {ys[i]:.1f} %, {xs[i]:.3g} % of pixels')
    figure.draw_without_rendering()  # places the axes
    places = [axis.transData.transform((xs[i], ys[i])).tolist() for i in shown]
    _name_dots(axis, [names[i] for i in shown], places)
    return figure


def _name_dots(axis: Axes, names: Sequence[str], places: Sequence[Sequence[float]]) -> None:
    """Names beside dots, wherever nothing is yet; without room a name is left to the tip.

    Pixels from the lower left; a letter is about as wide as half its height.
    """
    scale = axis.figure.dpi / 72
    field = axis.get_window_extent()
    taken = [(x - 7 * scale, y - 7 * scale, x + 7 * scale, y + 7 * scale) for x, y in places]
    for name, (x, y) in zip(names, places):
        width = 6.4 * len(name)
        for dx, dy in (
            (9, -5), (-9 - width, -5), (-width / 2, 9), (-width / 2, -21), (-width / 2, 22),
            (-width / 2, 35),
        ):  # fmt: skip
            left, bottom = x + dx * scale, y + dy * scale
            box = (left, bottom, left + width * scale, bottom + 12 * scale)
            inside = field.x0 < left and box[2] < field.x1 and bottom > field.y0
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                axis.annotate(name, (x, y), (dx, dy + 1), 'figure pixels', 'offset points')
                break


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@_styled
def confusion(shares: np.ndarray, classes: Sequence[str], title: str = '') -> Figure:
    """(K, K) percent of each label's pixels, rows labels; numbers in the cells of few classes."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    k, numbered = len(classes), len(classes) <= _NUMBERED
    side = (0.47 if numbered else max(0.1, 11.8 / k)) * max(k, 4)
    margin = 0.09 * max(map(len, classes)) + 0.5
    figure, (axis,) = _panels(1, 1, (side + margin, side + margin))
    # Shares as opacity suit any background; the root keeps those of a few per cent visible.
    shades = [to_rgba(COLOURS['c1'], alpha) for alpha in (0, 1)]
    blue = LinearSegmentedColormap.from_list('share', shades)
    roots = np.sqrt(np.nan_to_num(shares) / 100)
    shown = axis.imshow(roots, blue, vmin=0, vmax=1, interpolation='none')
    letters = 11 if numbered else max(5, min(11, 850 // k - 2))
    axis.set_xticks(range(k), classes, rotation=90, fontsize=letters, color=COLOURS['fg'])
    axis.set_yticks(range(k), classes, fontsize=letters, color=COLOURS['fg'])
    axis.tick_params(top=False, labeltop=True, labelbottom=False)
    axis.grid(False)
    axis.spines[:].set(visible=True, color=COLOURS['line'])
    axis.set_title(title, loc='left')
    if numbered:
        for row, column in np.argwhere(shares >= 0.5):
            colour = 'white' if shares[row, column] > 25 else COLOURS['fg']
            number = f'{shares[row, column]:.0f}'
            axis.text(column, row, number, ha='center', va='center', color=colour)
    else:
        ticks = [0, 1, 5, 10, 25, 50, 100]
        bar = figure.colorbar(shown, ax=axis, ticks=np.sqrt(np.array(ticks) / 100), shrink=0.7)
        bar.ax.set_yticklabels([f'{tick} %' for tick in ticks])
    return figure


def _panels(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout='constrained', dpi=72)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


@_styled
def _written(figure: Figure, file: BinaryIO, kind: str, dpi: int = 72) -> Figure:
    nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type')) if kind == 'svg' else {}
    # 'tight': a square picture leaves the layout too little room for the axis' name.
    figure.savefig(file, format=kind, dpi=dpi, bbox_inches='tight', metadata=nothing)
    return figure


def svg(figure: Figure, label: str) -> str:
    """The chart as an element of a page, as wide as its box; ``label`` is read out for it."""
    buffer = io.BytesIO()
    figure.patch.set_visible(False)  # the page is behind it
    for axis in figure.axes:
        axis.patch.set_visible(False)
    _written(figure, buffer, 'svg')
    text = buffer.getvalue().decode()
    view = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', text)
    assert view is not None, 'matplotlib writes it'
    text = text[text.index('>', view.end()) + 1 :]
    text = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>', '', text, flags=re.DOTALL)
    text = re.sub(r'<g id="tip:([^"]*)">', r'<g><title>\1</title>', text)
    text = re.sub(r'<g id="[^"]*">', '<g>', text)
    text = re.sub(r"font-family: ('[^';]*', )+sans-serif; ", '', text)  # the page's, that is
    for name, value in COLOURS.items():
        text = text.replace(f': {value}', f': var(--{name})')
    return (
        f'<svg {view[0]} style="max-width:{float(view[1]):.0f}px" role="img" '
        f'aria-label="{escape(label)}">{text}'
    )


def check_format(path: str | os.PathLike) -> None:
    """Refuse a file name that says no format a chart can be written in."""
    if os.path.splitext(path)[1].lower() not in _FORMATS:
        raise ChartFormatError(f'{path}: name a chart with one of {", ".join(_FORMATS)}.')


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write a chart; the ending says the format."""
    check_format(path)
    with whole_file(path) as file:
        _written(figure, file, os.path.splitext(path)[1][1:].lower(), 130)
