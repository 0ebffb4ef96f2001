"""Predict pictures: id masks, overlays and a JSON of what is in them.

    python tools/predict.py pspnet_r50-d8_512x1024_40k_cityscapes weights.pth \
        street.jpg more/ 'holiday/*.png' film.mp4 --out-dir out

    python tools/predict.py CONFIG CHECKPOINT drive.mp4 --film drive_classes.mp4
    python tools/predict.py CONFIG CHECKPOINT rtsp://camera/1 --film a.mp4 --frames 500

    torchrun --nproc-per-node 8 tools/predict.py names.txt s3://bucket/more --config ... \
        --checkpoint weights.pth --out-dir out --resume

Images are pictures, folders, globs, text files of paths, addresses of a store or of shards, videos
or streams. Writes OUT_DIR/masks/NAME.png (the class index of each pixel), OUT_DIR/overlays/NAME.png
and OUT_DIR/predictions.json, or one film of overlays. Sub-folders are kept; files of one name from
several sources get a number. Files that cannot be read are left out, and listed at the end.
Processes started by torchrun, srun (--launcher slurm) or mpirun (--launcher mpi) share the
pictures; the files are those of one process. --resume skips what is done.
"""

import argparse

from segkit.engine.command_line import SHARED, add_shared, parse_options, run_script, tool_parser


def parse_args() -> argparse.Namespace:
    from segkit.engine.command_line import add_engine_arguments, add_weights_arguments

    parser = tool_parser(__doc__)
    add = parser.add_argument
    sources = 'images, folders, globs, videos, streams, 0; CONFIG CHECKPOINT may come before'
    add('images', nargs='+', metavar='SOURCE', help=sources)
    add('--config', **SHARED['config'])
    add('--checkpoint', **SHARED['checkpoint'])
    add_shared(parser, '--cfg-options')
    parser.add_argument('--out-dir', help='folder for masks, overlays and predictions.json')
    add_shared(parser, '--device', '--batch-size', '--opacity')
    add_shared(parser, '--resume', '--launcher')
    parser.add_argument('--local_rank', '--local-rank', type=int, help=argparse.SUPPRESS)
    parser.add_argument('--aug-test', action='store_true', help='multi-scale and flip')
    parser.add_argument('--palette', metavar='FILE', help='colours: NAME R G B a line, CSV or JSON')
    sure = parser.add_argument_group('how sure the network is')
    sure.add_argument('--confidence', action='store_true', help='OUT_DIR/confidence/NAME.png')
    sure.add_argument('--probabilities', action='store_true', help='OUT_DIR/probabilities/NAME.npy')
    add_shared(sure, '--unknown-below')
    film = parser.add_argument_group('one film of one video, stream or camera')
    film.add_argument('--film', metavar='FILE.mp4', help='frames with their classes over them')
    film.add_argument('--fps', type=float, help='frames a second (default: those of the source)')
    film.add_argument('--frames', type=int, metavar='N', help='stop after N frames')
    add_shared(parser, '--fuse-bn', '--channels-last', '--bf16')
    add_engine_arguments(parser)
    add_weights_arguments(parser)
    args = parser.parse_args()
    _take_positions(parser, args)
    if bool(args.out_dir) == bool(args.film):
        parser.error('choose one: --out-dir for files of each picture, or --film for one film')
    if args.film and args.resume:
        parser.error('--resume is of --out-dir: a film is written in one go')
    if args.film and (len(args.images) > 1 or args.confidence or args.probabilities):
        parser.error('--film is of one source, and of overlays; for more use --out-dir')
    if not args.film and (args.fps or args.frames):
        parser.error('--fps and --frames are of a film: name it with --film')
    if args.unknown_below is not None and not 0 < args.unknown_below <= 1:
        parser.error(f'--unknown-below {args.unknown_below} must be in (0, 1]')
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity {args.opacity} must be in [0, 1]')
    if args.batch_size < 1:
        parser.error(f'--batch-size {args.batch_size} must be 1 or more')
    return args


def _take_positions(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """``predict CONFIG CHECKPOINT SOURCE...``, as the other commands have it."""
    if args.config is None and args.checkpoint is None:
        if len(args.images) < 3:
            parser.error('give CONFIG CHECKPOINT SOURCE..., or --config, --checkpoint, SOURCE...')
        args.config, args.checkpoint, *args.images = args.images
    elif args.config is None or args.checkpoint is None:
        parser.error('give both --config and --checkpoint, or neither: CONFIG CHECKPOINT SOURCE...')


def main() -> None:
    predict(parse_args())


def join_job(args: argparse.Namespace) -> tuple[int, str]:
    """This process's rank, and its device."""
    import os

    from segkit.engine.dist import resolve_launcher
    from segkit.engine.joining import init_dist
    from segkit.errors import UserError

    launcher = resolve_launcher(args.launcher)
    if launcher == 'none':
        return 0, args.device
    if args.film:
        raise UserError('--film: a film is written by one process, without torchrun or srun.')
    init_dist(launcher, 'gloo')
    rank, local = int(os.environ['RANK']), int(os.environ['LOCAL_RANK'])
    return rank, f'cuda:{local}' if args.device == 'cuda' else args.device


def predict(args: argparse.Namespace) -> None:
    from segkit.apis import init_model
    from segkit.apis.predict import predict_to_folder
    from segkit.engine.command_line import engine_options

    rank, device = join_job(args)
    switches = {name: getattr(args, name) for name in ('fuse_bn', 'channels_last', 'bf16')}
    options, engine = parse_options(args.cfg_options), engine_options(args)
    model = init_model(args.config, args.checkpoint, device, options, **switches, **engine)
    colours = None
    if args.palette:
        from segkit.apis.palette import read_palette

        colours = read_palette(args.palette, model.dataset_meta['classes'])
    names = ('aug_test', 'batch_size', 'opacity', 'unknown_below')
    names += ('fps', 'frames') if args.film else ('confidence', 'probabilities', 'resume')
    wanted = {name: getattr(args, name) for name in names}
    if args.film:
        from segkit.apis.video import predict_film

        count = predict_film(model, args.images[0], args.film, palette=colours, **wanted)
        print(f'{count} frames in {args.film}')
        return
    unread: list[str] = []
    wanted |= dict(palette=colours, on_error=unread.append)
    count = predict_to_folder(model, args.images, args.out_dir, **wanted)
    if rank == 0:
        print(f'{count} predictions in {args.out_dir}')
    if unread:
        raise SystemExit('\n'.join([f'{len(unread)} left out:', *unread]))


if __name__ == '__main__':
    run_script(main)
