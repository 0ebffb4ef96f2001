"""Predict pictures: id masks, overlays and a JSON of what is in them.

    python tools/predict.py street.jpg more/ 'holiday/*.png' film.mp4 \
        --config pspnet_r50-d8_512x1024_40k_cityscapes --checkpoint weights.pth --out-dir out

Writes OUT_DIR/masks/NAME.png (the class index of each pixel), OUT_DIR/overlays/NAME.png and
OUT_DIR/predictions.json. Sub-folders are kept; files of one name from several sources get a
number. Files that cannot be read are left out, and listed at the end.
"""

import argparse

from segkit.engine.launch import run_script, tool_parser


def parse_args() -> argparse.Namespace:
    from segkit.engine.launch import add_weights_arguments

    parser = tool_parser(__doc__)
    parser.add_argument('images', nargs='+', help='images, folders, globs or videos')
    parser.add_argument('--config', required=True, help='path or name of a shipped config')
    parser.add_argument('--checkpoint', required=True, help='path or URL')
    parser.add_argument('--out-dir', required=True)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--aug-test', action='store_true', help='multi-scale and flip')
    parser.add_argument('--batch-size', type=int, default=1, help='default: 1')
    parser.add_argument('--opacity', type=float, default=0.5, help='of the colours, in [0, 1]')
    parser.add_argument('--fuse-bn', action='store_true', help='fold batch norms (exact)')
    parser.add_argument('--channels-last', action='store_true', help='memory layout (exact)')
    parser.add_argument('--bf16', action='store_true', help='bfloat16 autocast (not exact)')
    add_weights_arguments(parser)
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity {args.opacity} must be in [0, 1]')
    if args.batch_size < 1:
        parser.error(f'--batch-size {args.batch_size} must be 1 or more')
    return args


def main() -> None:
    predict(parse_args())


def predict(args: argparse.Namespace) -> None:
    from segkit.apis import init_model
    from segkit.apis.predict import predict_to_folder

    model = init_model(
        args.config,
        args.checkpoint,
        args.device,
        fuse_bn=args.fuse_bn,
        channels_last=args.channels_last,
        bf16=args.bf16,
    )
    unread: list[str] = []
    count = predict_to_folder(
        model,
        args.images,
        args.out_dir,
        args.aug_test,
        args.batch_size,
        args.opacity,
        on_error=unread.append,
    )
    print(f'{count} predictions in {args.out_dir}')
    if unread:
        raise SystemExit('\n'.join([f'{len(unread)} left out:', *unread]))


if __name__ == '__main__':
    run_script(main)
