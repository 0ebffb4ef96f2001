#!/usr/bin/env python
"""Test a network: the table of per-class scores, and whatever files are asked for.

python tools/test.py CONFIG CHECKPOINT
python tools/test.py CONFIG CHECKPOINT --aug-test             the published ms+flip protocol
python tools/test.py CONFIG CHECKPOINT --show-dir overlays --report
python tools/test.py CONFIG CHECKPOINT --backend openvino --precision int8
python tools/test.py CONFIG model.onnx                        what segkit export wrote
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from segkit.compat import import_distributed_optim
from segkit.engine.command_line import (
    add_common_arguments,
    add_engine_arguments,
    add_shared,
    add_weights_arguments,
    read_config,
    run_script,
    starting_up,
    tool_parser,
)

if TYPE_CHECKING:
    from segkit.engine import Runner


def parse_args(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    add_common_arguments(parser)
    add = parser.add_argument
    add_shared(parser, 'checkpoint', '--opacity', '--unknown-below')
    add_shared(parser, '--resume')
    add('--aug-test', '--tta', action='store_true', help='multi-scale and flip, as published')
    add('--out', metavar='FILE.pkl|DIR', help='predictions: one pickle, or a PNG of ids each')
    add('--eval', nargs='+', metavar='METRIC', help='mIoU, mDice, mFscore')
    add('--format-only', action='store_true', help='write predictions, compare with no labels')
    add('--show', action='store_true', help='show each prediction in a window')
    add('--show-dir', metavar='DIR', help='write each prediction over its image into DIR')
    add('--wait-time', type=float, default=2, help='seconds each window stays (--show)')
    add('--per-picture', nargs='?', const='', metavar='FILE.csv', help='scores of each picture')
    add('--certainty-dir', metavar='DIR', help='a grey picture of the confidence for each')
    add('--probabilities', action='store_true', help='and those of all classes (--certainty-dir)')
    add('--report', nargs='?', const='', metavar='PATH', help='write a self-contained HTML report')
    add_shared(parser, '--fuse-bn', '--channels-last', '--bf16')
    # Arguments of the 0.x toolbox whose meaning is now elsewhere: say so instead of failing.
    add('--gpu-id', '--gpu-ids', dest='gpu_id', nargs='+', help=argparse.SUPPRESS)
    add('--gpu-collect', action='store_true', help=argparse.SUPPRESS)
    add('--tmpdir', help=argparse.SUPPRESS)
    add('--eval-options', nargs='+', default=[], help=argparse.SUPPRESS)
    add_engine_arguments(parser)
    add_weights_arguments(parser)
    return parser.parse_args(words)


def build_runner(args: argparse.Namespace) -> 'Runner':
    cfg = read_config(args)

    import_distributed_optim()  # before the Runner does
    from segkit.engine.config_check import check_config
    from segkit.engine.runner import Runner
    from segkit.engine.test_arguments import apply_test_arguments, translate_old_arguments
    from segkit.engine.which_checkpoint import require_checkpoint
    from segkit.weights import Undrawn, without_pretrained

    args.checkpoint = require_checkpoint(args.checkpoint, cfg)
    translate_old_arguments(args)
    apply_test_arguments(args, cfg)
    check_config(cfg)
    cfg.model = without_pretrained(cfg.model)
    with Undrawn():  # testing takes every weight from the checkpoint, or fails
        return Runner.from_cfg(cfg)


def main() -> None:
    args = parse_args()
    with starting_up():
        runner = build_runner(args)
    runner.test()


if __name__ == '__main__':
    run_script(main)
