"""Charts as inline SVG. Colours are CSS classes, so they follow the page's light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .axes import Frame, left_margin
from .scalars import Curves, smooth

_MAX_POINTS = 400
_MARKED = 60
_UNSMOOTHED = 30


def svg(frame: Frame, body: str, label: str) -> str:
    """An SVG element that scales with its box."""
    return (
        f'<svg viewBox="0 0 {frame.width} {frame.height}" role="img" '
        f'aria-label="{escape(label, quote=True)}">{body}</svg>'
    )


def line_chart(curves: Curves, y_label: str, smoothed: bool = False) -> str:
    """One line a curve with a legend below; ``smoothed`` draws raw values faintly behind."""
    curves = {name: _finite(*points) for name, points in curves.items()}
    curves = {name: points for name, points in curves.items() if points[0]}
    if not curves:
        return '<p class="muted">Nothing was logged.</p>'
    # Few points are shown as they are: a mean over three of thirty would hide them.
    smoothed = smoothed and max(len(xs) for xs, _ in curves.values()) > _UNSMOOTHED
    steps = [s for xs, _ in curves.values() for s in xs]
    values = [v for _, ys in curves.values() for v in ys]
    y_range = _range_of(values)
    frame = Frame((min(steps), max(steps)), y_range, left=left_margin(y_range))
    lines = [
        _line(frame, name, *points, i % 6 + 1, smoothed)
        for i, (name, points) in enumerate(curves.items())
    ]
    chart = svg(frame, frame.grid('iteration', escape(y_label)) + ''.join(lines), y_label)
    return chart + _names(list(curves))


def _finite(steps: Sequence[int], values: Sequence[float]) -> tuple[list, list]:
    kept = [(s, v) for s, v in zip(steps, values) if math.isfinite(v)]
    return [s for s, _ in kept], [v for _, v in kept]


def _range_of(values: Sequence[float]) -> tuple[float, float]:
    # A few spikes at the start of training would flatten the rest of the curve.
    high = float(np.quantile(values, 0.995)) if len(values) > 200 else max(values)
    low = min(min(values), 0.0) if min(values) < 0.4 * high else min(values)
    pad = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return (low - (pad if low else 0), high + pad)


def _line(frame: Frame, name: str, xs: list, ys: list, colour: int, smoothed: bool) -> str:
    look = f'line c{colour} raw' if smoothed else f'line c{colour}'
    raw = f'<polyline class="{look}" points="{_path(frame, xs, ys)}"/>'
    if smoothed:
        even = _path(frame, xs, smooth(ys))
        return raw + f'<polyline class="line c{colour}" points="{even}"/>'
    if len(xs) > _MARKED:
        return raw
    dots = [
        f'<circle class="dot c{colour}" cx="{frame.px(x)}" cy="{frame.py(y)}" r="3">'
        f'<title>{escape(name)}: {y:.4g} at {x}</title></circle>'
        for x, y in zip(xs, ys)
    ]
    return raw + ''.join(dots)


def _path(frame: Frame, xs: Sequence, ys: Sequence) -> str:
    keep = max(1, -(-len(xs) // _MAX_POINTS))
    low, high = frame.y
    return ' '.join(
        f'{frame.px(x)},{frame.py(min(max(y, low), high))}' for x, y in zip(xs[::keep], ys[::keep])
    )


def _names(names: Sequence[str]) -> str:
    entries = ''.join(
        f'<span><i class="key c{i % 6 + 1}"></i>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<div class="names">{entries}</div>'


def histogram(values: np.ndarray | Sequence[float], x_label: str, bins: int = 20) -> str:
    """How many images fall into each of ``bins`` equal parts of 0 to 100."""
    counts, edges = np.histogram(np.clip(values, 0, 100), bins=bins, range=(0, 100))
    y_range = 0.0, max(int(counts.max()), 1) * 1.08
    frame = Frame((0, 100), y_range, left=left_margin(y_range))
    bars = []
    for count, left, right in zip(counts.tolist(), edges[:-1], edges[1:]):
        x, top = frame.px(left), frame.py(count)
        bars.append(
            f'<rect class="bar" x="{x + 1}" y="{top}" width="{frame.px(right) - x - 2:.1f}" '
            f'height="{frame.py(0) - top:.1f}"><title>{left:g} to {right:g} %: {count} images'
            '</title></rect>'
        )
    return svg(frame, frame.grid(x_label, 'images') + ''.join(bars), x_label)


def scatter(
    names: Sequence[str], xs: np.ndarray, ys: np.ndarray, colours: Sequence, labels: tuple[str, str]
) -> str:
    """A dot a class at (share of pixels, IoU), logarithmic across; absent classes are left out."""
    shown = [i for i in range(len(names)) if xs[i] > 0 and not math.isnan(ys[i])]
    if not shown:
        return '<p class="muted">No class has labelled pixels.</p>'
    low = 10 ** math.floor(math.log10(min(xs[i] for i in shown)))
    frame = Frame((low, 100), (0, 105), log_x=True)
    places = [(frame.px(xs[i]), frame.py(ys[i])) for i in shown]
    dots = []
    for i, (x, y) in zip(shown, places):
        fill = 'rgb({},{},{})'.format(*colours[i])
        dots.append(
            f'<circle class="ball" style="fill:{fill}" cx="{x}" cy="{y}" r="6"><title>'
            f'{escape(names[i])}: IoU {ys[i]:.1f} %, {xs[i]:.3g} % of pixels</title></circle>'
        )
    texts = dot_names([str(names[i]) for i in shown], places, frame)
    return svg(frame, frame.grid(*labels) + ''.join(dots) + texts, ' and '.join(labels))


def dot_names(names: Sequence[str], places: Sequence[tuple[float, float]], frame: Frame) -> str:
    """Names beside their dots, to the right, left, above or below, wherever nothing is yet.

    A name without room is left out; the dot still tells it when pointed at.
    """
    floor = frame.height - frame.bottom  # the axis and its numbers are there
    taken = [(0.0, floor - 2.0, float(frame.width), float(frame.height))]
    taken += [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    texts = []
    for name, (x, y) in zip(names, places):
        size = 6.2 * len(name)
        for left, top in (
            (x + 9, y - 6), (x - 9 - size, y - 6), (x - size / 2, y - 20), (x - size / 2, y + 8),
            (x - size / 2, y - 33), (x - size / 2, y - 46),
        ):  # fmt: skip
            box = (left, top, left + size, top + 12)
            inside = left > 40 and box[2] < frame.width
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                texts.append(f'<text x="{left:.1f}" y="{top + 9.5:.1f}">{escape(name)}</text>')
                break
    return ''.join(texts)


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
