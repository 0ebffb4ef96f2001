"""Folders that a run writes into, made before anything else is (after hours is too late to learn
that one cannot be made), and one folder for one run.

Two trainings in one work directory delete each other's checkpoints. The first rank holds a lock of
the operating system on a small file, which says who it is. The lock goes with the process, however
that ends; it holds over NFS too.
"""

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from segkit.errors import ConfigError
from segkit.outputs import OutputError, is_run

try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    fcntl = None  # type: ignore[assignment]

_NUMBERED = re.compile(r'(best_.+_)?(iter|epoch)_\d+\.pth')


def make_folder(name: str, folder: str | os.PathLike) -> None:
    """Make ``folder``, which the option or key ``name`` asks for.

    Raises:
        ConfigError: it cannot be made, or not be written into; with the reason.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise ConfigError(
            f'{name}: cannot make the folder {folder} ({error.strerror}); choose another place'
        ) from None
    if not writable:
        raise ConfigError(f'{name}: the folder {folder} is not writable; choose another place')


def check_work_dir(folder: str | os.PathLike, config: str | None) -> None:
    """Refuse a work directory that is no run's and holds files of the names that a run writes.

    Args:
        config: the file that was given; a run leaves a copy of the whole config under its name,
            but never in its place.

    Raises:
        OutputError: names the file.
    """
    if is_run(folder):
        return
    copy = [Path(config).name] if config and not is_given(folder, config) else []
    for name in [*copy, 'run.json', 'results.json', 'results.csv', 'report.html']:
        if os.path.lexists(path := Path(folder) / name):
            raise OutputError(
                f'work_dir: {path} is there, in a folder where no run has been, and a run writes '
                'a file of that name. Choose another --work-dir'
            )


def is_given(folder: str | os.PathLike, config: str) -> bool:
    """Whether the copy of the config in ``folder`` would take the place of the file itself."""
    try:
        return os.path.samefile(Path(folder) / Path(config).name, config)
    except OSError:
        return False


def check_start(folder: str | os.PathLike, load_from: str | None) -> None:
    """Refuse weights to start from that lie where the run would write its own.

    Raises:
        OutputError: names the file.
    """
    path = Path(load_from or '')
    numbered = _NUMBERED.fullmatch(path.name) and path.is_file()
    if numbered and os.path.samefile(path.parent, folder):
        raise OutputError(
            f'load_from: {path} lies in the work directory, where the run would write a '
            'checkpoint of that name. Choose another --work-dir, or go on from it with --resume'
        )


def ends_like_file(path: str | os.PathLike) -> bool:
    """Whether a name that is no folder yet has the ending of a file; that of a version is none."""
    ending = r'\.(?!v\d)[A-Za-z][A-Za-z0-9]{1,4}'
    return bool(re.fullmatch(ending, Path(path).suffix)) and not Path(path).is_dir()


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[None]:
    """Hold ``folder`` while training in it.

    Raises:
        ConfigError: another run holds it; says which host and process, and since when.
    """
    path = Path(folder) / '.running'
    file, held = _take(path)
    try:
        if held:
            os.ftruncate(file, 0)
            since = time.strftime('%Y-%m-%d %H:%M:%S')
            me = f'host {socket.gethostname()}, process {os.getpid()}, since {since}'
            os.pwrite(file, me.encode(), 0)
        yield
    finally:
        if held and _leads_to(path, file):
            path.unlink(missing_ok=True)
        os.close(file)


def _take(path: Path) -> tuple[int, bool]:
    """(the open lock file, whether it is locked: some file systems know no locks).

    A run that ends removes its file and then lets go of it. Who waited at that very file would
    hold one that nobody finds, beside the next run, which makes another: so it is asked afterwards
    whether the name still leads to it; not for ever, as a file system may number a file anew each
    time it is asked for.
    """
    for tries in range(50, 0, -1):
        file, held, others = _try_lock(path)
        if tries > 1 and not _leads_to(path, file):
            os.close(file)
            continue
        break
    if others:
        who = os.pread(file, 200, 0).decode(errors='replace').strip()
        os.close(file)
        raise ConfigError(
            f'work_dir: {path.parent} is in use by another run '
            f'({who or "it does not say which"}): wait for it to end, or choose another folder '
            'with --work-dir'
        )
    return file, held


def _try_lock(path: Path) -> tuple[int, bool, bool]:
    """(the open file, whether this process holds it now, whether another does)."""
    try:
        # Not through a link: what it leads to would be written over.
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0), 0o644)
    except OSError as error:
        raise ConfigError(
            f'work_dir: {path} cannot be opened ({error.strerror}): move it away, or choose '
            'another folder with --work-dir'
        ) from None
    if fcntl is None:
        return file, False, False
    try:
        # A record lock: a forked data worker does not inherit it, and cannot keep it alive.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return file, False, True
    except OSError:  # this file system knows no locks
        return file, False, False
    return file, True, False


def _leads_to(path: Path, file: int) -> bool:
    """Whether the open ``file`` is the one of that name."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(file))
    except FileNotFoundError:
        return False
