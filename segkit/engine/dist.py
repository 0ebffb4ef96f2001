"""The ranks of a job: whether there are others, and what they tell one another."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as torch_dist
from torch.distributed import Store

from segkit.engine.command_line import LAUNCHERS


class LaunchError(RuntimeError):
    """The environment does not say how to join the job, or the other ranks are not there."""


def resolve_launcher(launcher: str = 'none') -> str:
    """``launcher``, or 'pytorch' when torchrun's variables are there and none was given.

    Without this, every process of ``torchrun train.py`` without ``--launcher`` would train
    alone as rank 0 and write into the same work directory.
    """
    if launcher not in LAUNCHERS:
        raise LaunchError(f'launcher={launcher!r} is unknown: use one of {", ".join(LAUNCHERS)}')
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ:
        return 'pytorch'
    return launcher


# (launcher, what starts it, variables of the rank and of the number of ranks): of a step of Slurm,
# not of a batch script.
_SIBLINGS = (
    ('slurm', 'srun', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'),
    ('mpi', 'mpirun', 'OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
)


def trains_alone() -> str:
    """A sentence for a process that was started with others and is told to join none; '' without
    others. Nobody but the user knows whether they are runs of their own."""
    for launcher, starter, rank, size in _SIBLINGS:
        count = os.environ.get(size, '')
        if count.isdecimal() and int(count) > 1:
            return (
                f'This is process {os.environ.get(rank, "?")} of the {count} that {starter} '
                f'started, and runs by itself. If they are to be one job, give --launcher '
                f'{launcher}'
            )
    return ''


def leave_dist() -> None:
    """Wait for the other ranks and leave the group.

    A rank that ends while another still talks makes gloo abort the other one.
    """
    if torch_dist.is_available() and torch_dist.is_initialized():
        torch_dist.barrier()
        torch_dist.destroy_process_group()


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is set on any rank; all must call it."""
    if not torch_dist.is_initialized() or torch_dist.get_world_size() == 1:
        return flag
    device = 'cuda' if torch_dist.get_backend() == 'nccl' else 'cpu'
    total = torch.tensor(float(flag), device=device)
    work = torch_dist.all_reduce(total, torch_dist.ReduceOp.MAX, async_op=True)
    while not work.is_completed():  # in torch's own wait Python would hear no signal
        time.sleep(0.005)
    work.wait()
    return bool(total)


def from_first_rank(value: object) -> Any:
    """``value`` of the first rank, on all of them; all must call it."""
    if not torch_dist.is_initialized() or torch_dist.get_world_size() == 1:
        return value
    holder = [value]
    torch_dist.broadcast_object_list(holder)
    return holder[0]


def average_over_ranks(vector: torch.Tensor) -> tuple[list[float], list[float]]:
    """(this rank's values, their means over all ranks) of a float tensor of shape (n,)."""
    if not torch_dist.is_initialized() or torch_dist.get_world_size() == 1:
        values = vector.tolist()
        return values, values
    total = vector.clone()
    torch_dist.all_reduce(total)
    return vector.tolist(), (total / torch_dist.get_world_size()).tolist()


def means_over_ranks(sums: dict[str, tuple[float, int]]) -> dict[str, float]:
    """Mean of each name from the (sum, number) of all ranks; all must call it.

    The names travel too, since a rank without an image does not know them.
    """
    parts = [sums]
    if torch_dist.is_initialized() and torch_dist.get_world_size() > 1:
        parts = [{}] * torch_dist.get_world_size()
        torch_dist.all_gather_object(parts, sums)
    totals: dict[str, tuple[float, int]] = {}
    for name, (value, count) in (item for part in parts for item in part.items()):
        done, number = totals.get(name, (0.0, 0))
        totals[name] = (done + value, number + count)
    return {name: value / count for name, (value, count) in totals.items()}


# -- what each rank last did -----------------------------------------------------------------------


class JobStore:
    """The store of the job this process has joined: what each rank does, told once a second."""

    def __init__(self, store: Store) -> None:
        self.store, self.rank = store, torch_dist.get_rank()
        self.world_size = torch_dist.get_world_size()
        self._told = 0.0
        # All ranks join at one moment, while the clocks of two machines may be minutes apart.
        self._began = time.monotonic()

    def beat(self, doing: str) -> None:
        if time.monotonic() - self._told >= 1.0:
            self._told = time.monotonic()
            self.store.set(f'beat/{self.rank}', f'{self._told - self._began} {doing}')

    def silent(self, longer_than: float) -> list[str]:
        """'rank 1 was last heard of 40 s ago, in iteration 7', for each that is silent."""
        said, now = [], time.monotonic() - self._began
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


def joined(store: Store) -> None:
    """This process is in the job whose store this is."""
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
