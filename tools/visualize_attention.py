#!/usr/bin/env python
"""Where chosen pixels look: the attention of PSANet, DANet or ISANet over the picture.

    python tools/visualize_attention.py CONFIG CHECKPOINT street.jpg --points 400,300 900,250

One row a point (marked by a cross), one column a kind of attention: what PSANet's pixel collects
and distributes, as in the paper's figure 6; DANet's position attention; ISANet's two sparse steps
multiplied out. Red is much, blue is little.
"""

import argparse

from segkit.engine.command_line import (
    add_shared,
    add_weights_arguments,
    parse_options,
    run_script,
    tool_parser,
)
from segkit.outputs import own_outputs

DEFAULT_POINTS = ((0.3, 0.3), (0.5, 0.5), (0.75, 0.65))


def point(text: str) -> tuple[float, float]:
    """'COLUMN,ROW' -> (column, row)."""
    try:
        column, row = (float(part) for part in text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r}: write COLUMN,ROW in pixels') from None
    return column, row


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    add_shared(parser, 'checkpoint', '--device', '--opacity')
    parser.add_argument('image')
    parser.add_argument('--points', nargs='+', type=point, metavar='X,Y', help='in pixels')
    parser.add_argument('--out', default='attention.png', help='default: %(default)s')
    parser.set_defaults(opacity=0.55)
    add_weights_arguments(parser)
    args = parser.parse_args()
    if not 0 < args.opacity <= 1:
        parser.error(f'--opacity {args.opacity} must be in (0, 1]')
    return args


def main() -> None:
    args = parse_args()
    inputs = [args.config, args.checkpoint, args.image]
    with own_outputs('--out', 'visualize_attention', [args.out], inputs):
        visualize(args)


def visualize(args: argparse.Namespace) -> None:
    from segkit.apis import inference_model, init_model
    from segkit.visualization.attention_probe import probe
    from segkit.visualization.images import read_rgb

    model = init_model(
        args.config, args.checkpoint or None, args.device, parse_options(args.cfg_options)
    )
    image = read_rgb(args.image)
    points = shares(args.points, image.shape)
    # One pass over the whole picture: a window of a sliding test sees only its own pixels.
    model.test_cfg = {'mode': 'whole'}
    with probe(model.decode_head) as read:
        inference_model(model, image[..., ::-1].copy())
        maps = read(points)
    draw(image, points, maps, args)
    print(args.out)


def shares(points: list | None, shape: tuple) -> list[tuple[float, float]]:
    """(column, row) in pixels -> (row, column) as shares of the picture."""
    if points is None:
        return list(DEFAULT_POINTS)
    height, width = shape[:2]
    outside = [p for p in points if not (0 <= p[0] < width and 0 <= p[1] < height)]
    if outside:
        raise SystemExit(f'--points {outside[0]} lies outside the picture of {width} x {height}')
    return [(row / height, column / width) for column, row in points]


def draw(image, points: list, maps: dict, args: argparse.Namespace) -> None:
    """One row a point: the picture with the point, then each kind of attention."""
    from segkit.visualization import attention_overlay, contact_sheet
    from segkit.visualization.attention import mark
    from segkit.visualization.local_visualizer import write_image

    cells, titles = [], []
    for i, (row, column) in enumerate(points):
        place = int(row * image.shape[0]), int(column * image.shape[1])
        cells.append(mark(image, place))
        titles.append(f'column {place[1]}, row {place[0]}')
        for name, rows in maps.items():
            attention = rows[i].float().cpu().numpy()
            cells.append(attention_overlay(image, attention, place, args.opacity))
            titles.append(name)
    sheet = contact_sheet(cells, titles, columns=1 + len(maps), width=min(640, image.shape[1]))
    write_image(sheet, args.out)


if __name__ == '__main__':
    run_script(main)
