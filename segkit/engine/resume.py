"""Finding the checkpoint to go on from, and saying how the present run differs from it.

A checkpoint counts only if all of it reads back: the zip's checksums are verified, since torch
does not. When the last one is damaged the one before serves, and the log says so.
"""

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from segkit.weights import CheckpointError, CheckpointNotFoundError, load_checkpoint

POINTER = 'last_checkpoint'


def verify(path: Path) -> None:
    """Raise ``CheckpointError`` if the checksums of a zip checkpoint do not hold."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except Exception as error:  # damaged headers raise whatever the byte happens to mean
        raise CheckpointError(f'{path} is damaged: {error}') from error
    if bad:
        raise CheckpointError(f'{path} is damaged: the checksum of its part {bad} is wrong')


def candidates(work_dir: str | Path) -> list[Path]:
    """Checkpoints of ``work_dir``, the one to try first in front.

    ``last_checkpoint`` holds a path relative to the work directory, which may have moved; the
    absolute ones that mmengine writes are looked up by name. Then by falling iteration or epoch.
    """
    work_dir = Path(work_dir)
    numbered = []
    for path in work_dir.glob('*.pth'):
        match = re.fullmatch(r'(?:iter|epoch)_(\d+)\.pth', path.name)
        if match:
            numbered.append((int(match[1]), path))
    found = [path for _, path in sorted(numbered, reverse=True)]
    pointer = work_dir / POINTER
    if pointer.is_file():
        named = Path(pointer.read_text().strip())
        places = [work_dir / named, work_dir / named.name]
        last = next((p for p in places if p.is_file()), None)
        if last is not None:
            found = [last] + [p for p in found if p != last]
    return found


def load_latest(work_dir: str | Path, say: Callable[[str], None]) -> tuple[Path, dict] | None:
    """The newest whole checkpoint of ``work_dir`` and its content; None if there is none.

    Raises:
        CheckpointError: there are checkpoints and every one of them is damaged.
    """
    paths = candidates(work_dir)
    for number, path in enumerate(paths):
        try:
            return path, load_verified(path)
        except CheckpointError as error:
            rest = 'trying the one before' if number + 1 < len(paths) else 'there is none before'
            say(f'{path.name} cannot be resumed from ({error}); {rest}.')
    if paths:
        raise CheckpointError(
            f'{work_dir}: none of its {len(paths)} checkpoints can be read; move them away to '
            'start afresh, or name another with --resume PATH'
        )
    return None


def load_verified(path: str | Path, map_location: str = 'cpu') -> dict:
    """``load_checkpoint`` after checking that the file is there and its checksums hold."""
    if '://' not in str(path):
        if not Path(path).is_file():
            raise CheckpointNotFoundError(f'{path}: there is no such checkpoint')
        verify(Path(path))
    return load_checkpoint(str(path), map_location=map_location)


def _flat(value: object, prefix: str = '') -> dict[str, object]:
    if isinstance(value, dict) and value:
        parts = [_flat(v, f'{prefix}.{k}' if prefix else str(k)) for k, v in value.items()]
        return {k: v for part in parts for k, v in part.items()}
    return {prefix: value}


# The seed is the checkpoint's whatever the config says.
_NOT_THE_RECIPE = (
    'work_dir',
    'resume',
    'load_from',
    'launcher',
    'log_level',
    'visualizer',
    'randomness',
)


def config_differences(before: str | None, now: dict) -> list[str]:
    """'key: old -> new' for each setting that changed since the checkpoint was written.

    Args:
        before: the config as JSON, from the checkpoint's ``meta['config_json']``.
        now: the present config as plain values.
    """
    if not before:
        return []
    old, new = _flat(json.loads(before)), _flat(json.loads(json.dumps(now, default=str)))
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key, '(not set)'), new.get(key, '(not set)')
        if a != b and key.split('.')[0] not in _NOT_THE_RECIPE:
            lines.append(f'{key}: {a!r} -> {b!r}')
    return lines
