"""Checkpoints that exist whole or not at all.

A file is written beside its place under a temporary name, flushed to the disk, and renamed. A
process killed at any instant, or a disk that fills, leaves the previous file as it was. mmengine
writes in place, through a copy of the whole file in memory, after deleting the previous one.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from segkit.engine.errors import TrainingError

_SLACK = 1 << 20  # bytes for metadata and the file system's own bookkeeping


def _fsync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(path: Path, write: Callable) -> None:
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _fsync_directory(path.parent)


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
        _replace(path, lambda file: torch.save(checkpoint, file))
    except (OSError, RuntimeError) as error:
        # torch's zip writer turns ENOSPC into a RuntimeError of its own.
        full = getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT)
        if full or shutil.disk_usage(path.parent).free < needed:
            raise _no_space(path, needed, error) from error
        raise


def save_text(text: str, path: str | Path) -> None:
    """Write a small text file atomically (``last_checkpoint``, ``run.json``)."""
    _replace(Path(path), lambda file: file.write(text.encode()))


def remove_leftovers(folder: str | Path) -> list[str]:
    """Delete temporary files of processes that were killed while writing; returns their names."""
    leftovers = sorted(Path(folder).glob('.*.pth.*.tmp'))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return [leftover.name for leftover in leftovers]
