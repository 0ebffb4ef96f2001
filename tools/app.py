"""A page to try a network on: drop a picture, see classes, legend and confidence, take the mask.

    segkit app my_data/config.py work_dirs/my_data
    segkit app CONFIG CHECKPOINT --space my_space        the files of a hub space instead

The page is served to this machine alone (http://127.0.0.1:7860); from elsewhere reach it by
`ssh -L 7860:127.0.0.1:7860 MACHINE`. Needs gradio (pip install "gradio>=6,<7").
"""

import argparse

from segkit.engine.command_line import (
    add_shared,
    add_weights_arguments,
    parse_options,
    run_script,
    tool_parser,
)


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    add_shared(parser, 'checkpoint', '--device')
    add = parser.add_argument
    add('--port', type=int, help='default: the first free one from 7860 on')
    add('--title', help='of the page (default: the name of the config)')
    add('--max-megabytes', type=float, default=20, metavar='MB', help='of a file')
    add('--max-megapixels', type=float, default=16, metavar='MP', help='of a picture (default: 16)')
    add('--space', metavar='FOLDER', help='write the files of a hub space there')
    add_weights_arguments(parser)
    args = parser.parse_args()
    if args.max_megabytes <= 0 or args.max_megapixels <= 0:
        parser.error('--max-megabytes and --max-megapixels must be above 0')
    if args.port is not None and not 0 < args.port < 65536:
        parser.error(f'--port {args.port} must be in 1..65535')
    return args


def main() -> None:
    args = parse_args()
    from pathlib import Path

    from segkit.apis import init_model

    options = parse_options(args.cfg_options)
    model = init_model(args.config, args.checkpoint, args.device, options)
    title = args.title or Path(args.config).stem
    if args.space:
        from segkit.apis.app.space import write_space

        write_space(model, args.space, title)
        print(f'{args.space}: README.md there tells how to push it')
        return
    from segkit.apis.app.predicting import Limits
    from segkit.apis.app.server import serve

    limits = Limits(args.max_megabytes, args.max_megapixels)
    serve(model, title, limits=limits, port=args.port)


if __name__ == '__main__':
    run_script(main)
