"""Checkpoints that exist whole or not at all, and a full disk foreseen.

mmengine writes in place, through a copy of the whole file in memory, after deleting the previous
one.
"""

import errno
import shutil
from pathlib import Path

import torch

from segkit.engine.errors import TrainingError
from segkit.weights import write_checkpoint
from segkit.whole_file import whole_file

_SLACK = 1 << 20  # bytes for metadata and the file system's own bookkeeping


def tensor_bytes(value: object) -> int:
    """Bytes of all the tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(v) for v in value)
    return 0


def _no_space(path: Path, needed: int, error: Exception | None = None) -> TrainingError:
    free = shutil.disk_usage(path.parent).free
    return TrainingError(
        f'{path} could not be written: the disk has {free / 1e6:.1f} MB free and the checkpoint '
        f'needs about {needed / 1e6:.1f} MB{f" ({error})" if error else ""}. The checkpoint '
        'before it is whole; make room, or set default_hooks.checkpoint.out_dir, then --resume'
    )


def save_checkpoint_file(checkpoint: dict, path: str | Path) -> None:
    """Write ``checkpoint`` to ``path`` atomically.

    Raises:
        TrainingError: the disk is full; what was at ``path`` before is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    needed = tensor_bytes(checkpoint) + _SLACK
    if shutil.disk_usage(path.parent).free < needed:
        raise _no_space(path, needed)
    try:
        with whole_file(path, durable=True) as file:
            write_checkpoint(checkpoint, file)
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns ENOSPC into a RuntimeError of its own.
        full = getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(path.parent).free < needed:
            raise _no_space(path, needed, error) from error
        raise
