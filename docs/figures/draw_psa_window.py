"""Draw psa_window.svg: the window of a pixel, the two directions, the window of a patch.

python docs/figures/draw_psa_window.py [OUTPUT]
"""

import sys
from pathlib import Path

CELL = 18
MAP = 7  # the map is MAP x MAP pixels
FULL = 2 * MAP - 1  # the mask that reaches everything from everywhere
TOP = 64
COLOURS = dict(
    map='#ffffff', window='#f2d7a0', kept='#8fbcdb', own='#c0392b', grid='#777777', text='#222222'
)


def cell(x: float, y: float, colour: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{CELL}" height="{CELL}" fill="{COLOURS[colour]}" '
        f'stroke="{COLOURS["grid"]}" stroke-width="0.5"/>'
    )


def text(x: float, y: float, words: str, size: int = 12) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" font-family="sans-serif" '
        f'fill="{COLOURS["text"]}">{words}</text>'
    )


def arrow(start: tuple[float, float], stop: tuple[float, float]) -> str:
    return (
        f'<line x1="{start[0]:g}" y1="{start[1]:g}" x2="{stop[0]:g}" y2="{stop[1]:g}" '
        f'stroke="{COLOURS["text"]}" stroke-width="1" marker-end="url(#head)"/>'
    )


def frame(left: float, top: float, size: int = MAP) -> str:
    side = size * CELL
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{side}" height="{side}" fill="none" '
        f'stroke="{COLOURS["text"]}" stroke-width="2.5"/>'
    )


def window_panel(left: float, own: tuple[int, int], title: list[str]) -> list[str]:
    """The window of one pixel, laid over the map."""
    parts = head(left, title)
    for y in range(FULL):
        for x in range(FULL):
            place = (own[0] + y - MAP + 1, own[1] + x - MAP + 1)
            inside = all(0 <= p < MAP for p in place)
            colour = 'own' if place == own else 'kept' if inside else 'window'
            parts.append(cell(left + x * CELL, TOP + y * CELL, colour))
    corner = (MAP - 1 - own[1]) * CELL, (MAP - 1 - own[0]) * CELL
    return [*parts, frame(left + corner[0], TOP + corner[1])]


def patch_panel(left: float, rows: range, columns: range, title: list[str]) -> list[str]:
    """The offsets that the pixels of a patch use between them; offset 0 is red."""
    parts = head(left, title)
    for y in range(1 - MAP, MAP):
        for x in range(1 - MAP, MAP):
            used = any(0 <= k + y < MAP for k in rows) and any(0 <= u + x < MAP for u in columns)
            colour = 'own' if x == y == 0 else 'kept' if used else 'window'
            parts.append(cell(left + (x + MAP - 1) * CELL, TOP + (y + MAP - 1) * CELL, colour))
    return parts


def head(left: float, lines: list[str]) -> list[str]:
    return [text(left, 18 * (i + 1), line, 12 if i else 14) for i, line in enumerate(lines)]


def direction_panel(left: float, top: float, collect: bool) -> list[str]:
    """Arrows along which features move."""
    own = (2, 4)
    others = [(0, 1), (5, 1), (6, 5), (0, 6), (3, 0)]
    name = 'collect: own takes from others' if collect else 'distribute: own gives to others'
    norm = 'softmax over others' if collect else 'softmax over owns'
    parts = head(left, [name, norm])
    for y in range(MAP):
        for x in range(MAP):
            colour = 'own' if (y, x) == own else 'kept' if (y, x) in others else 'map'
            parts.append(cell(left + x * CELL, top + y * CELL, colour))
    for other in others:
        ends = [(left + (x + 0.5) * CELL, top + (y + 0.5) * CELL) for y, x in (other, own)]
        parts.append(arrow(*(ends if collect else ends[::-1])))
    return [*parts, frame(left, top)]


def draw() -> str:
    """The whole picture as SVG."""
    side = FULL * CELL
    rows, columns = range(2, 4), range(3, 6)
    first = [
        'The window of one pixel (red)',
        f'mask {FULL} x {FULL}: {FULL * FULL} logits predicted;',
        f'{MAP * MAP} (blue) fall on the {MAP} x {MAP} map',
    ]
    second = [
        f'The window, for a patch of {len(rows)} x {len(columns)} pixels',
        f'{MAP + len(rows) - 1} x {MAP + len(columns) - 1} offsets (blue) say all of them need:',
        'what segkit multiplies at once',
    ]
    parts = window_panel(10, (2, 4), first)
    parts += patch_panel(side + 50, rows, columns, second)
    parts += direction_panel(2 * side + 100, TOP, True)
    parts += direction_panel(2 * side + 370, TOP, False)
    width, height = 2 * side + 600, TOP + side + 10
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">'
        '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="3" '
        'orient="auto"><path d="M0,0 L7,3 L0,6 z"/></marker></defs>'
        '<rect width="100%" height="100%" fill="white"/>'
    )
    return '\n'.join([start, *parts, '</svg>', ''])


if __name__ == '__main__':
    default = Path(__file__).with_name('psa_window.svg')
    Path(sys.argv[1] if len(sys.argv) > 1 else default).write_text(draw())
