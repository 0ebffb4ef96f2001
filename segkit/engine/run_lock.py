"""One folder, one run: two trainings in one work directory delete each other's checkpoints.

The first rank holds a lock of the operating system on a small file, which says who it is. The lock
goes with the process, however that ends; it holds over NFS too.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from segkit.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None  # type: ignore[assignment]

_NAME = '.running'


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold ``folder`` while training in it.

    Raises:
        ConfigError: another run holds it; says which host and process, and since when.
    """
    path = Path(folder) / _NAME
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        held = _lock(file)
        if held is None:
            raise ConfigError(
                f'work_dir: {folder} is in use by another run ({_who(path)}): wait for it to end, '
                'or choose another folder with --work-dir'
            )
        if held:
            os.ftruncate(file, 0)
            os.pwrite(file, _me().encode(), 0)
        yield
        if held:
            path.unlink(missing_ok=True)
    finally:
        os.close(file)


def _lock(file: int) -> bool | None:
    """True: it is ours; None: another's; False: this file system knows no locks."""
    if fcntl is None:
        return False
    try:
        # A record lock: a forked data worker does not inherit it, and cannot keep it alive.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return None
    except OSError:
        return False
    return True


def _me() -> str:
    since = time.strftime('%Y-%m-%d %H:%M:%S')
    return f'host {socket.gethostname()}, process {os.getpid()}, since {since}'


def _who(path: Path) -> str:
    return path.read_text().strip() or 'it does not say which'
