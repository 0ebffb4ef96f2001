"""A work directory in an object store: staged on the local disk, uploaded whole.

A run writes into a local folder as it always does. With every checkpoint, and at its end, what is
new there goes up, ``last_checkpoint`` last and what is surplus removed after that: whatever instant
the run is killed at, the store names a checkpoint that is whole. ``--resume`` asks the store, not
the local folder, so that a run goes on from any machine.

One run holds the folder by an object, ``.running``, that the store writes only if there is none
(``If-None-Match: *``), and that the run rewrites every few seconds. A run that was killed stops
doing so, and the next one takes over: at once on the same machine, elsewhere after ``LEASE``
seconds.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from segkit.engine.checkpoints import POINTER, load_latest
from segkit.engine.errors import TrainingError
from segkit.errors import ConfigError
from segkit.json_file import parse_json
from segkit.storage import StoreError, is_remote, on_disk, stores
from segkit.storage.object_cache import cache_folder
from segkit.whole_file import write_text

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

LOCK = '.running'
ASIDE = '.not_uploaded'
BEAT, LEASE = 15.0, 60.0  # seconds between two signs of life; without one the run counts as dead


def local_folder(work_dir: str) -> str:
    """Where a run of this work directory writes: itself, or the folder that is uploaded there."""
    return str(RemoteFolder(work_dir).staging) if is_remote(work_dir) else on_disk(work_dir)


class RemoteFolder:
    """The work directory at ``address``; ``staging`` is its folder on this machine."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip('/')
        number = hashlib.sha256(self.address.encode()).hexdigest()[:12]
        name = re.sub(r'[^\w.-]', '_', self.address.rpartition('/')[2])
        self.staging = cache_folder('work_dirs') / f'{name}-{number}'
        self._sent: dict[str, tuple[int, int]] = {}
        self._surplus: list[str] = []
        self._start = time.time()
        self._held: _Held | None = None

    def checkpoints(self) -> set[str]:
        """Names of the checkpoints that the store has."""
        found = stores.find(self.address)
        return {name for name in found if name.endswith('.pth') and '/' not in name}

    def begin(self, say: Callable[[str], None]) -> None:
        """Forget what an earlier run left in the staging folder; the store counts.

        Checkpoints that never came there are put aside, and ``say`` is told where.
        """
        (self.staging / POINTER).unlink(missing_ok=True)
        there, aside = self.checkpoints(), []
        for path in sorted(self.staging.glob('*.pth')):
            if path.name in there:
                path.unlink()
                continue
            (self.staging / ASIDE).mkdir(exist_ok=True)
            path.replace(self.staging / ASIDE / path.name)
            aside.append(path.name)
        if aside:
            say(
                f'{", ".join(aside)} of an earlier run never came to {self.address} and lie in '
                f'{self.staging / ASIDE}: go on from one with --resume PATH, or remove them.'
            )

    def fetch(self, name: str) -> Path:
        """A file of the folder on this machine, downloaded unless this very version is there.

        Checkpoints of one network have one size, so that size and name do not tell them apart.
        """
        path, address = self.staging / name, f'{self.address}/{name}'
        noted = path.with_name(f'.{name}.version')
        version = stores.version_of(address)
        try:
            there = noted.read_text() == f'{version} {_stamp(path)}'
        except OSError:
            there = False
        if not there:
            stores.get_file(address, version, path)
            self._sent[name] = _stamp(path)
            write_text(noted, f'{version} {_stamp(path)}')
        return path

    def load_latest(self, say: Callable[[str], None]) -> tuple[Path, dict] | None:
        """The newest whole checkpoint, as ``checkpoints.load_latest`` finds it."""
        with contextlib.suppress(FileNotFoundError):
            self.fetch(POINTER)
        return load_latest(self.staging, say, self.checkpoints(), self.fetch)

    def noted(self) -> str:
        """The name in the pointer; '' without one."""
        with contextlib.suppress(FileNotFoundError):
            return stores.read_all(f'{self.address}/{POINTER}').decode(errors='replace').strip()
        return ''

    def discard(self, name: str) -> None:
        """Remove a file at the next upload, once the pointer is there."""
        self._surplus.append(name)

    def push(self) -> None:
        """Upload what is new, the pointer last; then remove what is surplus."""
        if self._held is not None:
            self._held.check()
        names = sorted(self._new(), key=lambda name: (name == POINTER, name))
        for name in names:
            stamp = _stamp(self.staging / name)
            stores.put_file(f'{self.address}/{name}', str(self.staging / name))
            self._sent[name] = stamp
        while self._surplus:
            stores.remove(f'{self.address}/{self._surplus[-1]}')
            self._surplus.pop()

    def _new(self) -> Iterator[str]:
        for path in self.staging.rglob('*'):
            name = path.relative_to(self.staging).as_posix()
            hidden = any(part.startswith('.') for part in name.split('/'))
            if hidden or not path.is_file() or path.stat().st_mtime < self._start - 1:
                continue
            if self._sent.get(name) != _stamp(path):
                yield name

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the folder while training in it; ``say`` is told what could not be made sure.

        Raises:
            ConfigError: another run holds it; says which host and process, and since when.
        """
        self._held = _Held(f'{self.address}/{LOCK}')
        self._held.take(say, self.address)
        try:
            yield
        finally:
            self._held.release()
            self._held = None


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _machine() -> str:
    """This machine, and where on it numbers of processes mean the same; '' if it does not say."""
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text().strip()
        return f'{boot} {os.readlink("/proc/self/ns/pid")}'
    except OSError:
        return ''


class _Held:
    """The lock object of a folder. ``lost``: another run has taken it."""

    def __init__(self, address: str) -> None:
        self.address, self.mark, self.lost = address, uuid.uuid4().hex, False
        self._count, self._ended = 0, threading.Event()
        self._since = time.strftime('%Y-%m-%d %H:%M:%S')
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def take(self, say: Callable[[str], None], folder: str) -> None:
        """Become the one run of the folder, or raise ConfigError."""
        while not self._create():
            found = self._read()
            if found is None:
                continue
            if not _is_dead(found) and self._lives(found):
                raise ConfigError(
                    f'work_dir: {folder} is in use by another run (host {found.get("host")}, '
                    f'process {found.get("process")}, since {found.get("since")}): wait for it to '
                    'end, or choose another folder with --work-dir'
                )
            say(f'{self.address} is of a run that has ended without a word; this one takes over.')
            stores.remove(self.address)
        if stores.create(self.address, self._text()):
            say(
                f'{folder}: this store writes an object although it is there already (no '
                'If-None-Match), so that nothing keeps a second run out of this folder: start one '
                'run alone in it.'
            )
        self._thread.start()

    def _create(self) -> bool:
        if stores.create(self.address, self._text()):
            return True
        # An answer may have been lost on the way, and the question asked twice.
        return (self._read() or {}).get('mark') == self.mark

    def _lives(self, found: dict) -> bool:
        """Whether the lock is written anew within a lease."""
        end = time.monotonic() + LEASE
        while time.monotonic() < end:
            time.sleep(min(1.0, LEASE / 4))
            now = self._read()
            if now is None:
                return False
            if (now.get('mark'), now.get('count')) != (found.get('mark'), found.get('count')):
                return True
        return False

    def _read(self) -> dict | None:
        """What the lock says; None without one."""
        try:
            found = parse_json(stores.read_all(self.address).decode(), self.address)
        except FileNotFoundError:
            return None
        except ValueError as error:
            if isinstance(error, StoreError):
                raise
            return {}
        return found if isinstance(found, dict) else {}

    def _text(self) -> bytes:
        who = dict(host=socket.gethostname(), process=os.getpid(), since=self._since)
        return json.dumps(dict(who, machine=_machine(), mark=self.mark, count=self._count)).encode()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            # A store that does not answer now may do so the next time, within the lease.
            with contextlib.suppress(StoreError, OSError):
                self._beat_once()

    def _beat_once(self) -> None:
        if (self._read() or {}).get('mark') != self.mark:
            self.lost = True
            return
        self._count += 1
        stores.put(self.address, self._text())

    def check(self) -> None:
        """Raise TrainingError if another run has taken the folder."""
        found = self._read() or {}
        if self.lost or found.get('mark') != self.mark:
            raise TrainingError(
                f'{self.address} is no longer of this run but of host {found.get("host")}, process '
                f'{found.get("process")}: this one was not heard of for more than {LEASE:.0f} s. '
                'Nothing was uploaded; the other run goes on'
            )

    def release(self) -> None:
        """Leave the folder to the next run."""
        self._ended.set()
        self._thread.join(BEAT)
        with contextlib.suppress(StoreError, OSError):
            if (self._read() or {}).get('mark') == self.mark:
                stores.remove(self.address)


def _is_dead(found: dict) -> bool:
    """Whether its process was on this machine and is no more."""
    process, machine = found.get('process'), _machine()
    if not machine or found.get('machine') != machine or not isinstance(process, int):
        return False
    return not os.path.isdir(f'/proc/{process}')


class UploadHook(Hook):
    """Uploads with every checkpoint and at the end; a run that goes on survives a store that does
    not answer."""

    priority = 'LOWEST'

    def __init__(self, folder: RemoteFolder) -> None:
        self.folder = folder

    def after_checkpoint(self, runner: 'Runner', folder: str = '') -> None:
        if not is_main_process():
            return
        try:
            self.folder.push()
        except StoreError as error:
            if runner.stop_requested:
                raise self._told(error) from error
            runner.logger.warning(
                f'{error}. What was saved is in {self.folder.staging}, and goes up with the next '
                'checkpoint.'
            )

    def after_run(self, runner: 'Runner') -> None:
        if not is_main_process():
            return
        try:
            self.folder.push()
        except StoreError as error:
            raise self._told(error) from error

    def _told(self, error: StoreError) -> StoreError:
        return StoreError(f'{error}. What was saved and did not go up is in {self.folder.staging}')
