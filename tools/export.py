"""Write a trained network as ONNX, TorchScript, torch.export program or safetensors, and check it.

    python tools/export.py pspnet_r50-d8_512x512_80k_ade20k weights.pth --format onnx \
        --shape 512 512 --dynamic --out pspnet.onnx

The file is run on random images, and on those of --images, and compared with the network; it is
written only if they agree. CHECKPOINT `none` exports random weights.
"""

import argparse
from collections.abc import Sequence

from segkit.engine.command_line import add_shared, parse_options, run_script, tool_parser


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    from segkit.engine.command_line import add_weights_arguments

    parser = tool_parser(__doc__, config=True)
    add_shared(parser, 'checkpoint', '--shape')
    formats = ['onnx', 'torchscript', 'torch_export', 'safetensors']
    parser.add_argument('--format', choices=formats, default='onnx')
    parser.add_argument('--dynamic', action='store_true', help='leave height and width open')
    parser.add_argument('--open-batch', action='store_true', help='and the number of images')
    parser.add_argument('--opset', type=int, help="of ONNX (default: torch's)")
    parser.add_argument('--argmax', action='store_true', help='classes out instead of logits')
    parser.add_argument('--normalize', action='store_true', help='grey levels (0-255, RGB) in')
    parser.add_argument('--grid', action='store_true', help='logits as the head has them, small')
    parser.add_argument('--images', nargs='*', default=[], help='real images to compare on')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='of the relative difference')
    parser.add_argument('--agreement', type=float, default=0.999, help='least share of classes')
    parser.add_argument('--out', required=True)
    add_weights_arguments(parser)
    return parser.parse_args(words)


def main() -> None:
    export(parse_args())


def export(args: argparse.Namespace) -> None:
    from segkit.outputs import own_outputs

    inputs = [args.config, args.checkpoint, *args.images]
    with own_outputs('--out', 'export', [args.out], inputs):
        write(args)


def write(args: argparse.Namespace) -> None:
    from segkit.apis import init_model
    from segkit.apis.export import export_model

    checkpoint = None if args.checkpoint == 'none' else args.checkpoint
    found = export_model(
        init_model(args.config, checkpoint, cfg_options=parse_options(args.cfg_options)),
        args.out,
        args.format,
        args.shape,
        dynamic=args.dynamic,
        open_batch=args.open_batch,
        opset=args.opset,
        argmax=args.argmax,
        normalize=args.normalize,
        grid=args.grid,
        images=args.images,
        tolerance=args.tolerance,
        agreement=args.agreement,
    )
    for agreement in found:
        print(agreement)
    print(f'{args.out}: written')


if __name__ == '__main__':
    run_script(main)
