"""Finding the checkpoint to go on from, and saying how the present run differs from it.

A checkpoint counts only if all of it reads back, checksums included, and holds the state of a run.
When the last one does not, the one before serves, and the log says so.
"""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from segkit.weights import CheckpointError, load_checkpoint

POINTER = 'last_checkpoint'


def candidates(work_dir: str | Path, say: Callable[[str], None] = print) -> list[Path]:
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
    last = _noted(work_dir, say)
    if last is not None and last in found[1:]:
        say(f'{work_dir / POINTER} names {last.name}, although {found[0].name} is there.')
    return found if last is None else [last] + [p for p in found if p != last]


def _noted(work_dir: Path, say: Callable[[str], None]) -> Path | None:
    """The checkpoint that ``last_checkpoint`` names, if it is there."""
    pointer = work_dir / POINTER
    if not pointer.exists():
        return None
    try:
        named = Path(pointer.read_bytes()[:4096].decode().strip())
        places = [work_dir / named, work_dir / named.name]
        last = next((p for p in places if p.suffix and p.is_file()), None)
    except (OSError, ValueError) as error:  # a folder; bytes that are no text, or no name
        last, why = None, str(error)
    else:
        why = f'names {str(named)[:80]!r}, which is not there'
    if last is None:
        say(f'{pointer} {why}; the checkpoint of the highest number is taken instead.')
    return last


def load_latest(work_dir: str | Path, say: Callable[[str], None]) -> tuple[Path, dict] | None:
    """The newest whole checkpoint of ``work_dir`` and its content; None if there is none.

    Raises:
        CheckpointError: there are checkpoints and every one of them is damaged.
    """
    paths = candidates(work_dir, say)
    for number, path in enumerate(paths):
        try:
            return path, load_verified(path)
        except (CheckpointError, OSError) as error:  # OSError: a disk that cannot read it
            rest = 'trying the one before' if number + 1 < len(paths) else 'there is none before'
            say(f'{path.name} cannot be resumed from ({error}); {rest}.')
    if paths:
        raise CheckpointError(
            f'{work_dir}: none of its {len(paths)} checkpoints can be read; move them away to '
            'start afresh, or name another with --resume PATH'
        )
    return None


def load_verified(path: str | Path, map_location: str = 'cpu') -> dict:
    """``load_checkpoint`` of a file that must hold the state of a training run.

    Raises:
        CheckpointError: it is not there or not whole, or holds weights alone.
    """
    checkpoint = load_checkpoint(path, map_location=map_location)
    missing = [key for key in ('state_dict', 'meta') if not isinstance(checkpoint.get(key), dict)]
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        missing += [] if isinstance(meta.get('iter'), int) else ['meta.iter']
    if missing:
        raise CheckpointError(
            f'{path}: holds no state of a training run ({", ".join(missing)} missing); start from '
            f'its weights with --load-from {shlex.quote(str(path))}, without --resume'
        )
    return checkpoint


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
    try:
        old = _flat(json.loads(before))
    except (ValueError, TypeError, RecursionError):
        return ['the config in the checkpoint cannot be read, so nothing could be compared']
    new = _flat(json.loads(json.dumps(now, default=str)))
    lines = []
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key, '(not set)'), new.get(key, '(not set)')
        if a != b and key.split('.')[0] not in _NOT_THE_RECIPE:
            lines.append(f'{key}: {a!r} -> {b!r}')
    return lines
