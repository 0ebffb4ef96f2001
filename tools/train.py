#!/usr/bin/env python
"""Train a network.

python tools/train.py configs/pspnet/pspnet_r50-d8_512x1024_40k_cityscapes.py
torchrun --nproc_per_node 4 -m segkit train CONFIG      on four GPUs
python tools/train.py CONFIG --resume      go on where it stopped
python tools/train.py --data FOLDER --model segformer_mit-b0 --pretrained
                                           a folder of pictures and labels: to a trained network, a
                                           report and a file for inference
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segkit.engine import stops

if __name__ == '__main__':
    stops.watch()  # before the imports that take seconds

from segkit.command import command
from segkit.compat import import_distributed_optim
from segkit.engine.command_line import (
    add_common_arguments,
    add_weights_arguments,
    read_config,
    run_script,
    starting_up,
    tool_parser,
)
from segkit.inspection.options import add_folder_options, settle

if TYPE_CHECKING:
    from segkit.apis.train_folder import Trained
    from segkit.engine import Runner


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_common_arguments(parser, '?')
    add = parser.add_argument
    add('--data', metavar='FOLDER', help='pictures and labels, in place of a config')
    add('--load-from', help='start from the weights of this checkpoint (fine-tuning)')
    add(
        '--resume',
        nargs='?',
        const='auto',
        metavar='auto|PATH',
        help='go on from PATH, or from the last checkpoint of the work directory: while that has '
        'none, start from --load-from or load_from of the config, if given',
    )
    add('--resume-from', metavar='PATH', help='older name of --resume PATH')
    add('--no-validate', action='store_true', help='do not validate while training')
    add('--amp', action='store_true', help='mixed precision: bf16, or fp16 where bf16 is slow')
    add('--amp-dtype', choices=['bf16', 'fp16'], help='choose the type of --amp')
    add('--seed', type=int, help='seed of everything random; drawn and printed when not given')
    add('--diff-seed', '--diff_seed', action='store_true', help='another seed for each process')
    add('--deterministic', action='store_true', help='bit-identical runs on CPU; slower on GPU')
    add('--auto-scale-lr', action='store_true', help="scale the rate by this run's batch size")
    add('--accumulate', metavar='N|auto', help='batches per step; auto keeps the recipe batch')
    # Arguments of the 0.x toolbox whose meaning is now elsewhere: say so instead of failing.
    add('--auto-resume', action='store_true', help=argparse.SUPPRESS)
    add('--gpus', '--gpu-id', '--gpu-ids', dest='gpus', nargs='+', help=argparse.SUPPRESS)
    add_weights_arguments(parser)
    of_folders = add_folder_options(parser, '--model')
    args = parser.parse_args(words)
    if (args.config is None) == (args.data is None):
        parser.error('give either CONFIG or --data FOLDER')
    given = [name for name in of_folders if getattr(args, name) not in (None, False)]
    if args.data is None and given:
        option = 'model' if given[0] == 'network' else given[0].replace('_', '-')
        parser.error(f'--{option} goes with --data; a config is changed by --cfg-options')
    if args.data is not None and (args.resume or args.resume_from or args.auto_resume):
        parser.error('--resume goes with the config that --data has written: WORK_DIR/config.py')
    if args.data is not None and args.folds is not None:
        split = command('new_dataset', f'FOLDER --folds {args.folds}')
        parser.error(f'--folds makes several configs; `{split}` writes them, train each')
    if args.data is not None:
        settle(args, parser.error)
    return args


def apply_arguments(args: argparse.Namespace, cfg) -> None:
    """Write the arguments into the config, so that it alone says what was run."""
    if args.gpus:
        print('--gpus/--gpu-ids have no effect: use CUDA_VISIBLE_DEVICES and torchrun')
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp or args.amp_dtype:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
    if args.amp_dtype:
        cfg.optim_wrapper.dtype = args.amp_dtype
    if args.accumulate:
        digits = args.accumulate.isdigit()
        cfg.train_cfg.accumulate = int(args.accumulate) if digits else args.accumulate
    if args.auto_scale_lr:
        cfg.auto_scale_lr = dict(cfg.get('auto_scale_lr') or {}, enable=True)
    randomness = dict(cfg.get('randomness') or {})
    if args.seed is not None:
        randomness['seed'] = args.seed
    randomness['deterministic'] = args.deterministic or randomness.get('deterministic', False)
    randomness['diff_rank_seed'] = args.diff_seed or randomness.get('diff_rank_seed', False)
    cfg.randomness = dict(dict(seed=None), **randomness)
    # Where to start: from nothing, from weights, or from where a run stopped.
    resume = args.resume_from or args.resume or ('auto' if args.auto_resume else None)
    if args.load_from:
        cfg.load_from = args.load_from
    if resume == 'auto':
        cfg.resume = 'auto'
    elif resume:
        cfg.resume, cfg.load_from = True, resume


def build_runner(args: argparse.Namespace) -> 'Runner':
    cfg = read_config(args)
    apply_arguments(args, cfg)

    import_distributed_optim()  # before the Runner does
    from segkit.engine.config_check import check_config
    from segkit.engine.runner import Runner

    check_config(cfg)
    return Runner.from_cfg(cfg)


def run(args: argparse.Namespace) -> 'Trained | None':
    """Train; from a folder, go on to what stands for the network."""
    with starting_up():
        if args.data is not None:
            from segkit.apis.train_folder import write_run

            args.config = write_run(args, apply_arguments)
        runner = build_runner(args)
    runner.train()
    from segkit.apis.train_folder import finish, is_of_folder

    # The config of such a run goes on to them, too, when it was stopped on the way.
    if not is_of_folder(args.config, runner.work_dir):
        return None
    stops.training_is_over()
    return finish(args.config)


def main() -> None:
    run(parse_args())


if __name__ == '__main__':
    run_script(main)
