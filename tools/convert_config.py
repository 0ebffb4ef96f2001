"""Turn a config of mmsegmentation 0.x or 1.x into one of ours, and prove it by building both.

python tools/convert_config.py old/pspnet_r50-d8_512x1024_40k_cityscapes.py new.py
"""

import argparse
import sys
from pathlib import Path

from segkit.engine.command_line import run_script, tool_parser
from segkit.errors import UserError
from segkit.outputs import own_outputs


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('old', help='leaf config of mmsegmentation, beside its _base_ files')
    parser.add_argument('new', help='file to write')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with own_outputs('NEW', 'convert_config', [args.new], [args.old]):
        convert_config(args)


def convert_config(args: argparse.Namespace) -> None:
    from mmengine.config import Config

    from segkit.engine.config_files import named, read_config_file, shipped_configs
    from segkit.engine.migration import convert, differences, leaf_text, same_parameters

    try:
        old = read_config_file(Path(args.old))
        config, source, left_out = convert(old)
        wrong = same_parameters(old.model, config.model)
    except (OSError, UserError) as error:
        sys.exit(f'{args.old}: {error}')
    if wrong:
        sys.exit('The two networks differ, nothing was written:\n' + '\n'.join(wrong))
    Path(args.new).write_text(leaf_text(config) or config.pretty_text, encoding='utf-8')
    print(f'{args.new}: written from a {source} config; both networks have the same parameters.')
    for key in left_out:
        print(f'Not taken over: {key}')
    configs = shipped_configs()
    name = named(Path(args.old).stem, configs)
    if name:
        shipped = configs[name]
        keys = ('model', 'train_dataloader', 'test_dataloader', 'optim_wrapper', 'param_scheduler')
        own = Config.fromfile(shipped)
        found = [line for key in keys for line in differences(config[key], own[key], key)]
        print(f'Against the shipped {shipped.name} (converted | shipped): {len(found)} differences')
        print('\n'.join(found))


if __name__ == '__main__':
    run_script(main)
