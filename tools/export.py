"""Write a trained network as ONNX, TorchScript, torch.export program or safetensors, and check it.

    python tools/export.py pspnet_r50-d8_512x512_80k_ade20k weights.pth --format onnx \
        --shape 512 512 --dynamic --out pspnet.onnx

The file is run on random images, and on those of --images, and compared with the network; it is
written only if they agree. CHECKPOINT `none` exports random weights.
"""

import argparse
from collections.abc import Sequence

from segkit.engine.command_line import add_shared, parse_options, run_script, tool_parser

OPTIONS = (  # of export_model
    'dynamic', 'open_batch', 'opset', 'argmax', 'normalize', 'grid', 'images', 'tolerance',
    'agreement',
)  # fmt: skip


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    from segkit.engine.command_line import add_weights_arguments

    parser = tool_parser(__doc__, config=True)
    add_shared(parser, 'checkpoint', '--shape')
    formats = ['onnx', 'torchscript', 'torch_export', 'safetensors']
    add = parser.add_argument
    add('--format', choices=formats, default='onnx')
    add('--dynamic', action='store_true', help='leave height and width open')
    add('--open-batch', action='store_true', help='and the number of images')
    add('--opset', type=int, help="of ONNX (default: torch's)")
    add('--argmax', action='store_true', help='classes out instead of logits')
    add('--normalize', action='store_true', help='grey levels (0-255, RGB) in')
    add('--grid', action='store_true', help='logits as the head has them, small')
    add('--images', nargs='*', default=[], help='real images to compare on')
    add('--tolerance', type=float, default=1e-4, help='of the relative difference')
    add('--agreement', type=float, default=0.999, help='least share of classes')
    add('--out', required=True)
    add_weights_arguments(parser)
    return parser.parse_args(words)


def main() -> None:
    export(parse_args())


def export(args: argparse.Namespace) -> None:
    from segkit.apis import init_model
    from segkit.apis.export import export_model
    from segkit.outputs import own_outputs

    options = {name: getattr(args, name) for name in OPTIONS}
    checkpoint = None if args.checkpoint == 'none' else args.checkpoint
    inputs = [args.config, args.checkpoint, *args.images]
    with own_outputs('--out', 'export', [args.out], inputs):
        model = init_model(args.config, checkpoint, cfg_options=parse_options(args.cfg_options))
        found = export_model(model, args.out, args.format, args.shape, **options)
        print(*found, f'{args.out}: written', sep='\n')


if __name__ == '__main__':
    run_script(main)
