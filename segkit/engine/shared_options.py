"""Arguments that several commands take: said once, so that they mean the same everywhere."""

import argparse
from typing import Any

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
CONFIG: dict[str, object] = dict(help='a config file, or the name of a shipped one')
CFG_OPTIONS: dict[str, Any] = dict(
    nargs='+',
    default=[],
    metavar='KEY=VALUE',
    help='change settings: model.decode_head.channels=256 data_root=/data/ade20k a.b=[1,2]',
)
SHARED: dict[str, dict[str, object]] = {
    'config': CONFIG,
    'checkpoint': dict(help='a file, a work directory, a URL, or an exported .onnx'),
    '--cfg-options': CFG_OPTIONS,
    '--work-dir': dict(help='where to write (default: work_dirs/NAME OF CONFIG)'),
    '--device': dict(default='cpu', help='cpu, cuda, cuda:1, ... (default: cpu)'),
    '--batch-size': dict(type=int, default=1, help='images at a time (default: 1)'),
    '--fuse-bn': dict(action='store_true', help='fold batch norms (same classes, faster)'),
    '--channels-last': dict(action='store_true', help='memory layout (same classes)'),
    '--bf16': dict(action='store_true', help='bfloat16 autocast (faster, not exact)'),
    '--unknown-below': dict(
        type=float,
        metavar='P',
        help='pixels whose class has a lower probability become 255, unknown',
    ),
    '--opacity': dict(
        type=float, default=0.5, help='of the colours over the picture (default: %(default)s)'
    ),
    '--shape': dict(
        type=int, nargs=2, default=(512, 512), metavar=('H', 'W'), help='default: 512 512'
    ),
    '--launcher': dict(
        choices=LAUNCHERS,
        default='none',
        help='how the processes are started; torchrun is recognised without it',
    ),
    '--resume': dict(action='store_true', help='go on where it was stopped'),
    '--workers': dict(type=int, help='processes (default: one a core)'),
}


def add_shared(parser: Any, *names: str, **changes: object) -> None:
    """Add arguments of ``SHARED`` to a parser or a group of one; ``changes`` to each of them."""
    for name in names:
        settings = {**SHARED[name], **changes}
        parser.add_argument(name, **settings)


def add_config(parser: argparse.ArgumentParser) -> None:
    """``config`` and what changes its settings."""
    add_shared(parser, 'config', '--cfg-options')
