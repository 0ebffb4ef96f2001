"""Where files made of a checkpoint are kept: beside it, whole or not at all, within a bound.

Where nothing can be written beside it they go into the cache of downloads, and where that cannot be
written either into a folder that this process deletes at its end.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from segkit.weights.sources import cache_dir, cached_at

from .sessions import needed
from .settings import SUFFIX, BackendError

T = TypeVar('T')
AT_MOST = 4 << 30  # bytes of what is made of one checkpoint; what was used last stays
_STALE = 86400  # seconds: older drafts are of processes that were killed
_NAME = 150  # bytes of a name, to which sizes and hashes are added
_DRAFT = '.draft-'
_temporary: list[tempfile.TemporaryDirectory] = []


def stem_of(checkpoint: str | Path | None) -> str:
    """What the names of files made of a checkpoint begin with."""
    stem = 'network' if checkpoint is None else cached_at(checkpoint).stem
    return os.fsdecode(os.fsencode(stem)[:_NAME])


def kept(
    name: str,
    checkpoint: str | Path | None,
    make: Callable[[Path], None],
    opened: Callable[[Path], T],
) -> T:
    """``opened(file)`` of the file ``name`` beside ``checkpoint``; made first unless it is there.

    One that is there and not whole, as a full disk or an interrupted copy leaves it, is made again.
    Two processes may make one at the same time: each writes a draft, and the last stays.

    Args:
        checkpoint: None, of random weights: the file goes when the process does.
        make: writes the file to the place it is given, whose name ends as ``name`` does.
    """
    places = [] if checkpoint is None else [cached_at(checkpoint).parent, cache_dir()]
    for file in (place / name for place in places):
        if not file.is_file():
            continue
        try:
            result = opened(file)
        except BackendError:
            if _is_whole(file):
                raise
            print(f'{file}: is not whole, and is made again')
            break
        with contextlib.suppress(OSError):
            os.utime(file)  # used: others are older
        return result
    with _draft_folder(places) as (place, folder):
        make(folder / name)
        (folder / name).replace(place / name)
    _forget_older(place, stem_of(checkpoint), place / name)
    return opened(place / name)


@contextlib.contextmanager
def _draft_folder(places: list[Path]) -> Iterator[tuple[Path, Path]]:
    """The first of ``places`` that can be written to, and a folder in it to write drafts in."""
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            draft = tempfile.TemporaryDirectory(dir=place, prefix=_DRAFT)
        except OSError:  # read-only, of somebody else, or full
            continue
        break
    else:
        _temporary.append(tempfile.TemporaryDirectory(prefix='segkit-engine-'))
        place = Path(_temporary[-1].name)
        draft = tempfile.TemporaryDirectory(dir=place, prefix=_DRAFT)
    with draft as folder:
        yield place, Path(folder)


def _forget_older(place: Path, stem: str, latest: Path) -> None:
    """Delete files made of this checkpoint beyond `AT_MOST` bytes, those used longest ago first,
    and the drafts of processes that were killed."""
    sizes = r'(open|\d+x\d+)'
    ours = re.compile(
        rf'{re.escape(stem)}(-{sizes}-[0-9a-f]{{16}})?(-int8-[0-9a-f]{{16}})?{re.escape(SUFFIX)}'
    )
    with contextlib.suppress(OSError):  # of a folder that several processes tidy
        for draft in place.glob(f'{_DRAFT}*'):
            if draft.is_dir() and time.time() - draft.stat().st_mtime > _STALE:
                shutil.rmtree(draft, ignore_errors=True)
        found = [p for p in place.iterdir() if ours.fullmatch(p.name) and p.name != stem + SUFFIX]
        total = latest.stat().st_size
        for file in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True):
            if file == latest:
                continue
            total += file.stat().st_size
            if total > AT_MOST:
                file.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    onnx = needed('onnx', 'onnxruntime')
    try:
        return bool(onnx.load(str(file), load_external_data=False).graph.output)
    except Exception:  # protobuf's own among them
        return False
