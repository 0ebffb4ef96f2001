"""Scales and tick marks of a chart: numbers to pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) that lie in [low, high]."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if raw <= power * m * 1.0001)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def short(value: float) -> str:
    """A number as an axis label: 1500 -> '1.5k', 0.00010 -> '1e-4'."""
    if value == 0:
        return '0'
    size = abs(value)
    if size >= 1e6:
        return f'{value / 1e6:g}M'
    if size >= 1e3:
        return f'{value / 1e3:g}k'
    if size < 1e-3:
        return f'{value:.0e}'.replace('e-0', 'e-')
    return f'{value:.4g}'


def left_margin(y: tuple[float, float]) -> int:
    """Pixels left of the plot for the longest tick label of a range, and the title beside it."""
    return max(52, 26 + round(6.3 * max(len(short(tick)) for tick in nice_ticks(*y))))


@dataclass(frozen=True)
class Frame:
    """The plotting area of a chart: data ranges, size and margins in pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 560
    height: int = 260
    left: int = 52
    right: int = 14
    top: int = 12
    bottom: int = 38
    log_x: bool = False

    def px(self, value: float) -> float:
        """Horizontal position of a value, in pixels."""
        low, high = self.x
        if self.log_x:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def py(self, value: float) -> float:
        """Vertical position of a value, in pixels from the top."""
        low, high = self.y
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.height - self.bottom - share * self._depth, 1)

    @property
    def _depth(self) -> int:
        return self.height - self.top - self.bottom

    def grid(self, x_label: str, y_label: str) -> str:
        """Grid lines, tick labels and axis titles as SVG."""
        end, floor = self.width - self.right, self.height - self.bottom
        parts = []
        for value in nice_ticks(*self.y):
            y = self.py(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{end}" y1="{y}" y2="{y}"/>')
            parts.append(
                f'<text x="{self.left - 7}" y="{y + 3.5}" class="end">{short(value)}</text>'
            )
        for value in self._x_ticks():
            x = self.px(value)
            parts.append(f'<text x="{x}" y="{floor + 16}" class="mid">{short(value)}</text>')
        parts.append(f'<line class="axis" x1="{self.left}" x2="{end}" y1="{floor}" y2="{floor}"/>')
        middle, half = (self.left + end) / 2, (self.top + floor) / 2
        parts.append(f'<text class="mid name" x="{middle}" y="{self.height - 4}">{x_label}</text>')
        turn = f'transform="translate(11 {half}) rotate(-90)"'
        parts.append(f'<text class="mid name" {turn}>{y_label}</text>')
        return ''.join(parts)

    def _x_ticks(self) -> list[float]:
        if not self.log_x:
            return nice_ticks(*self.x, count=6)
        low, high = (math.log10(v) for v in self.x)
        return [10.0**p for p in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
