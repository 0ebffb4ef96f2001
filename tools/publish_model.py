#!/usr/bin/env python
"""Make a checkpoint fit to share: weights and class names only, its hash in the name.

    python tools/publish_model.py work_dirs/pspnet/best_mIoU_iter_80000.pth pspnet_r50.pth

writes pspnet_r50-1a2b3c4d.pth. The optimizer, the log, paths of this machine and the training
config stay behind. The file loads with a plain torch.load, which refuses anything but data. The
hash depends on the content alone, whatever the file is called. Where a run kept a moving average,
it is what validation scored and what is published, with --ema and without.
"""

import argparse
import hashlib
import io
import os
import re
from pathlib import Path

from segkit.command import command
from segkit.engine.command_line import add_weights_arguments, run_script, tool_parser
from segkit.outputs import own_outputs
from segkit.whole_file import whole_file


def parse_args() -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument('checkpoint', help='a file or URL of any format, or a work directory')
    parser.add_argument('out', help='a name (.pth), to which the hash is added, or a folder')
    parser.add_argument('--ema', action='store_true', help='the moving average, or an error')
    add_weights_arguments(parser, renaming=False)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from segkit.engine.which_checkpoint import require_checkpoint
    from segkit.weights import dataset_meta_of, load_checkpoint, write_checkpoint

    args.checkpoint = require_checkpoint(args.checkpoint)
    out = target(args)
    checkpoint = load_checkpoint(args.checkpoint)
    state = {name: value.clone() for name, value in weights(checkpoint, args).items()}
    meta = dataset_meta_of(checkpoint)
    # Not to a file: its name would be written into it, and so into the hash.
    buffer = io.BytesIO()
    write_checkpoint({'state_dict': state, 'meta': {'dataset_meta': meta} if meta else {}}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    final = out.with_name(f'{out.stem}-{digest}.pth')
    with own_outputs('OUT', 'publish_model', [final], [args.checkpoint]), whole_file(final) as file:
        file.write(buffer.getbuffer())
    print(f'{final} ({final.stat().st_size / 2**20:.1f} MiB, {len(state)} tensors)')


def target(args: argparse.Namespace) -> Path:
    """The file that was named, without its hash; in a folder, under the checkpoint's name."""
    out = Path(args.out)
    if out.is_dir() or args.out.endswith(('/', os.sep)):
        return out / f'{Path(args.checkpoint).stem}.pth'
    if out.suffix not in ('', '.pth'):
        raise SystemExit(
            f'{args.out}: this writes a .pth file; `{command("export")}` writes others.'
        )
    return out.with_name(out.name.removesuffix('.pth') + '.pth')


def weights(checkpoint: dict, args: argparse.Namespace) -> dict:
    """The network's weights that validation scored, or their moving average; what is left out is
    said."""
    from segkit.weights import state_dict_of

    state = state_dict_of(checkpoint, args.checkpoint)
    if 'ema_state_dict' in checkpoint:  # EMAHook exchanges the two when it saves
        print('These are moving averages, which validation scored; the raw weights stay behind.')
        return state
    buffers = {name: f'ema_{name.replace(".", "_")}' for name in state}
    buffers = {name: buffer for name, buffer in buffers.items() if buffer in state}
    plain = {name: value for name, value in state.items() if name not in buffers.values()}
    if args.ema and averages_in_buffers(bool(buffers), args.checkpoint):
        print(f'{len(buffers)} weights were taken from the moving averages of 0.x (ema_*).')
        return {name: state[buffers.get(name, name)] for name in plain}
    if buffers:
        print(f'{len(buffers)} ema_* buffers of 0.x stay behind; validation scored the others.')
    return plain


def averages_in_buffers(there: bool, path: str) -> bool:
    """Whether ``ema_*`` hold the averages: 0.x exchanges them with the weights before it validates
    and saves by epoch, but not by iteration."""
    if not there:
        raise SystemExit(f'{path}: holds no moving average; leave out --ema.')
    kind = re.search(r'(iter|epoch)_\d+$', Path(path).stem)
    if kind is None:
        raise SystemExit(
            f'{path}: holds ema_* buffers of 0.x, which are the averages in a file saved by '
            'iteration and the raw weights in one saved by epoch. Name it iter_N.pth or '
            'epoch_N.pth, or leave out --ema for what validation scored.'
        )
    return kind[1] == 'iter'


if __name__ == '__main__':
    run_script(main)
