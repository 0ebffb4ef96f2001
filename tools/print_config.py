#!/usr/bin/env python
"""The whole config that a short file stands for, with every _base_ and option merged.

python tools/print_config.py psanet_r50-d8_512x512_80k_ade20k
python tools/print_config.py CONFIG --key model.backbone --cfg-options model.backbone.depth=18
"""

import argparse
from pathlib import Path

from segkit.engine.command_line import parse_options, run_script, tool_parser
from segkit.outputs import own_outputs


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__, config=True)
    parser.add_argument('--key', help='print this part only, e.g. model.decode_head')
    parser.add_argument('--out', help='also write the config to this .py, .json or .yml file')
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.py', '.json', '.yml', '.yaml')):
        parser.error(f'--out {args.out}: the name must end with .py, .json or .yml')
    return args


def main() -> None:
    args = parse_args()
    from segkit.engine.config import load_config

    with own_outputs('--out', 'print_config', [args.out], [args.config]):
        cfg = load_config(args.config, parse_options(args.cfg_options))
        print(part(cfg, args.key) if args.key else cfg.pretty_text)
        if args.out:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            cfg.dump(args.out)


def part(cfg, key: str) -> str:
    """The text of a part of the config, addressed with dots."""
    from mmengine.config import Config

    node = cfg
    for i, name in enumerate(key.split('.')):
        try:
            node = node[int(name)] if isinstance(node, (list, tuple)) else node[name]
        except (KeyError, IndexError, ValueError, TypeError):
            known = ', '.join(node) if isinstance(node, dict) else f'0 to {len(node) - 1}'
            where = '.'.join(key.split('.')[:i]) or 'the config'
            raise SystemExit(f'--key {key}: {name} is not in {where}; it has {known}.') from None
    return Config(node).pretty_text if isinstance(node, dict) else repr(node)


if __name__ == '__main__':
    run_script(main)
