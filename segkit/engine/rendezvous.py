"""Where the ranks of a job meet: a key-value store on a port that no other job answers at.

torchrun says where. Under Slurm and MPI the first rank opens the store on any free port, and tells
which at the first free one of a few ports that follow from the name of the job step, so that steps
which share a node do not meet; the others ask there. The store also tells what each rank last did.
"""

import contextlib
import datetime
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch.distributed as torch_dist
from torch.distributed import PrefixStore, Store, TCPStore

# Below the ports that Linux hands out to any program that asks for one (32768 and up).
_FIRST, _COUNT, _TRIES = 10000, 20000, 16
_NAME = 'segkit'


def candidate_ports(job: str) -> list[int]:
    """Ports to try for the job of this name, in order; equal on all ranks."""
    start = zlib.crc32(job.encode())
    return [_FIRST + (start + 97 * i) % _COUNT for i in range(_TRIES)]


def meet(rank: int, world_size: int, job: str | None, timeout: float) -> Store:
    """The store of the job; MASTER_ADDR and MASTER_PORT say where, the port perhaps afterwards.

    Args:
        job: a name that no other job has; the port is looked for if MASTER_PORT is not set.
        timeout: seconds that joining, and later any wait in the store, may take.

    Raises:
        RuntimeError: of torch, the store cannot be opened or reached in that time.
    """
    address, limit = os.environ['MASTER_ADDR'], datetime.timedelta(seconds=float(timeout))
    if 'MASTER_PORT' in os.environ:
        port = int(os.environ['MASTER_PORT'])
        # torchrun keeps a store of its own at this place, and keeps it through restarts, with
        # the addresses of the attempt before in it: each attempt has its own part of the store.
        serve = rank == 0 and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True'
        kept = TCPStore(address, port, world_size, serve, limit, wait_for_workers=False)
        return PrefixStore(f'segkit/{os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)}', kept)
    name = job or 'segkit'
    open_store = _serve if rank == 0 else _find
    port, store = open_store(address, world_size, name, limit)
    os.environ['MASTER_PORT'] = str(port)
    return store


def _serve(address: str, world: int, job: str, limit: datetime.timedelta) -> tuple[int, Store]:
    """A store on any free port, and somebody at a port of the job's who tells which."""
    store = TCPStore(address, 0, world, True, limit, wait_for_workers=False)
    for port in candidate_ports(job):
        try:
            desk = socket.create_server(('', port), backlog=1024)
        except OSError:
            continue
        _desks.append(desk)
        answer = f'{_NAME} {job}\t{store.port}\n'.encode()
        threading.Thread(target=_tell, args=(desk, answer), daemon=True).start()
        return store.port, store
    raise RuntimeError(f'no port among {candidate_ports(job)} is free')


def _tell(desk: socket.socket, answer: bytes) -> None:
    """Give the answer to everybody who comes, until the desk is closed."""
    while True:
        try:
            caller, _ = desk.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), caller:
            caller.sendall(answer)


def _find(address: str, world: int, job: str, limit: datetime.timedelta) -> tuple[int, Store]:
    end = time.monotonic() + limit.total_seconds()
    while time.monotonic() < end:
        port = _ask(address, job)
        if port is not None:
            return port, TCPStore(address, port, world, False, limit, wait_for_workers=False)
        time.sleep(0.2)
    raise RuntimeError(f'no rank 0 answered at {address} within {limit.total_seconds():.0f} s')


def _ask(address: str, job: str) -> int | None:
    """The port of the store, from the first of the job's ports where its name is known."""
    for port in candidate_ports(job):
        try:
            with socket.create_connection((address, port), timeout=2) as desk:
                name, _, told = desk.makefile('rb').readline(1000).decode().partition('\t')
        except (OSError, UnicodeDecodeError):  # nobody, or somebody else
            continue
        if name == f'{_NAME} {job}' and told.strip().isdigit():
            return int(told)
    return None


def shared_address(rank: int, job: str, timeout: float) -> str:
    """An address of rank 0 for a launcher that does not tell it, through a file in this folder.

    mpirun says to no rank where the others are. The folder a job is started in is seen by all of
    its nodes, as its checkpoints have to be.

    Raises:
        RuntimeError: rank 0 did not write its addresses, or cannot be reached at any of them.
    """
    file = Path(f'.segkit_{zlib.crc32(job.encode()):08x}.address')
    if rank == 0:
        host = socket.gethostname()
        found = [info[4][0] for info in _resolved(host)]
        hint = Path(f'{file}.{os.getpid()}')
        hint.write_text(' '.join(dict.fromkeys([host, *map(str, found)])))
        hint.rename(file)
        return host
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        for address in file.read_text().split() if file.exists() else []:
            if _ask(address, job) is not None:
                return address
        time.sleep(0.2)
    raise RuntimeError(f'rank 0 could not be reached at an address in {file.resolve()}')


def _resolved(host: str) -> list[tuple]:
    try:
        return socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []


class JobStore:
    """The store of the job this process has joined: what each rank does, told once a second."""

    def __init__(self, store: Store) -> None:
        self.store, self.rank = store, torch_dist.get_rank()
        self.world_size = torch_dist.get_world_size()
        self._told = 0.0

    def beat(self, doing: str) -> None:
        if time.monotonic() - self._told >= 1.0:
            self._told = time.monotonic()
            self.store.set(f'beat/{self.rank}', f'{time.time()} {doing}')

    def silent(self, longer_than: float) -> list[str]:
        """'rank 1 was last heard of 40 s ago, in iteration 7', for each that is silent."""
        said, now = [], time.time()
        try:
            for rank in set(range(self.world_size)) - {self.rank}:
                if not self.store.check([f'beat/{rank}']):
                    said.append(f'rank {rank} was never heard of')
                    continue
                at, _, doing = self.store.get(f'beat/{rank}').decode().partition(' ')
                if now - float(at) > longer_than:
                    ago = f'{now - float(at):.0f} s ago'
                    said.append(f'rank {rank} was last heard of {ago}, {doing}')
        except RuntimeError:
            said.append("rank 0, which keeps the job's store, does not answer")
        return said


_joined: list[JobStore] = []
_desks: list[socket.socket] = []


def joined(store: Store) -> None:
    """This process is in the job whose store this is; no other rank is still to come."""
    while _desks:
        _desks.pop().close()
    _joined[:] = [JobStore(store)]


def beat(doing: str) -> None:
    """Tell the other ranks what this one does ('in iteration 7'); nothing without any."""
    if _joined and torch_dist.is_initialized():
        _joined[0].beat(doing)


@contextlib.contextmanager
def listening(asked: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether this rank, or any other within a moment, was ``asked``.

    For a stretch in which the ranks do not wait for each other, as they have unequally many
    batches. A thread with a connection of its own asks the store: over a link that is cut that may
    wait without a limit.
    """
    if not _joined or not torch_dist.is_initialized() or torch_dist.get_world_size() == 1:
        yield asked
        return
    heard, left = threading.Event(), threading.Event()
    words = _joined[0].store, asked, heard, left
    ear = threading.Thread(target=_listen, args=words, daemon=True)
    ear.start()
    try:
        yield lambda: heard.is_set() or asked()
    finally:
        left.set()
        ear.join(2.0)


def _listen(
    store: Store, asked: Callable[[], bool], heard: threading.Event, left: threading.Event
) -> None:
    if not hasattr(store, 'clone'):  # torch < 2.8
        return
    with contextlib.suppress(RuntimeError):  # a lost store is for the next collective to tell
        store = store.clone()
        while not left.wait(0.2):
            if asked():
                store.set('stop', '')
            if store.check(['stop']):
                heard.set()
                return


def silent_ranks(longer_than: float = 5.0) -> str:
    """A clause for each rank that has said nothing for so many seconds; empty without any.

    Asked in a thread of its own: over a link that is cut the store waits without a limit.
    """
    if not _joined:
        return ''
    said: list[str] = []
    question = threading.Thread(
        target=lambda: said.extend(_joined[0].silent(longer_than)), daemon=True
    )
    question.start()
    question.join(5.0)
    return "the job's store does not answer" if question.is_alive() else '; '.join(said)
