"""Joining a distributed job: which launcher, which backend, and saying what was chosen.

mmengine's ``init_dist`` calls ``torch.cuda.set_device`` even without a GPU, always asks for NCCL,
divides by zero under Slurm on a CPU node and takes an error text of ``scontrol`` for a host name.
All launchers end here in the same five environment variables that torchrun sets.
"""

import datetime
import os
import subprocess
import time
from typing import Any

import torch
import torch.distributed as torch_dist

from segkit.engine.command_line import LAUNCHERS
from segkit.engine.errors import torch_said
from segkit.engine.rendezvous import joined, meet, shared_address


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


def _variable(name: str, launcher: str) -> str:
    if name not in os.environ:
        raise LaunchError(
            f'--launcher {launcher} needs the environment variable {name}, which is not set: '
            f'start the script through {_STARTER[launcher]}, or leave --launcher out to run one '
            'process'
        )
    return os.environ[name]


_STARTER = dict(
    pytorch='torchrun --nproc_per_node N',
    slurm='srun',
    mpi='mpirun',
)


def _first_host(node_list: str) -> str:
    """The first host of a Slurm node list such as ``gpu[03-07,12],cpu1``."""
    try:
        command = ['scontrol', 'show', 'hostnames', node_list]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return answer.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        head, _, ranges = node_list.partition('[')
        if not ranges:
            return head.split(',')[0]
        return head.split(',')[-1] + ranges.split(']')[0].split(',')[0].split('-')[0]


def _from_slurm() -> str:
    rank = _variable('SLURM_PROCID', 'slurm')
    os.environ['RANK'] = rank
    os.environ['WORLD_SIZE'] = _variable('SLURM_NTASKS', 'slurm')
    os.environ['LOCAL_RANK'] = os.environ.get('SLURM_LOCALID', '0')
    nodes = os.environ.get('SLURM_STEP_NODELIST') or _variable('SLURM_NODELIST', 'slurm')
    os.environ.setdefault('MASTER_ADDR', _first_host(nodes))
    return f'slurm {os.environ.get("SLURM_JOB_ID", 0)}.{os.environ.get("SLURM_STEP_ID", 0)}'


def _from_mpi(timeout: float) -> str:
    for name, source in (('RANK', 'RANK'), ('WORLD_SIZE', 'SIZE'), ('LOCAL_RANK', 'LOCAL_RANK')):
        os.environ[name] = _variable(f'OMPI_COMM_WORLD_{source}', 'mpi')
    names = ('PMIX_NAMESPACE', 'OMPI_MCA_ess_base_jobid')
    job = 'mpi ' + next((os.environ[name] for name in names if name in os.environ), '')
    if 'MASTER_ADDR' not in os.environ:
        alone = os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') == os.environ['WORLD_SIZE']
        rank = int(os.environ['RANK'])
        os.environ['MASTER_ADDR'] = '127.0.0.1' if alone else shared_address(rank, job, timeout)
    return job


def _from_torchrun() -> None:
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        _variable(name, 'pytorch')


def choose_backend(asked: str | None = None) -> str:
    """NCCL where CUDA is, gloo elsewhere; an explicit 'nccl' on a CPU machine becomes gloo."""
    if not torch.cuda.is_available():
        return 'gloo'
    return asked or 'nccl'


def init_dist(
    launcher: str, backend: str | None = None, timeout: float = 1800, **kwargs: Any
) -> str:
    """Join the process group and return a sentence that says how.

    Args:
        launcher: 'pytorch', 'slurm' or 'mpi'.
        backend: 'nccl' or 'gloo'; chosen by the machine when not given.
        timeout: seconds to wait for the other ranks to start, and that a collective may take before
            the job is ended. The default leaves time for one rank to validate or save while the
            others wait.

    Raises:
        LaunchError: a variable is missing, or the other ranks cannot be reached.
    """
    backend = choose_backend(backend)
    try:
        job = _read_environment(launcher, timeout)
        rank, world_size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
        _take_device()
        store = meet(rank, world_size, job, timeout)
        limit = datetime.timedelta(seconds=float(timeout))
        torch_dist.init_process_group(
            backend, timeout=limit, store=store, rank=rank, world_size=world_size, **kwargs
        )
    except RuntimeError as error:
        if isinstance(error, LaunchError):
            raise
        where = f'{os.environ.get("MASTER_ADDR", "?")}:{os.environ.get("MASTER_PORT", "?")}'
        raise LaunchError(
            f'rank {os.environ["RANK"]} of {os.environ["WORLD_SIZE"]} could not join the job at '
            f'{where}: check that every rank was started, that MASTER_ADDR names the node of rank '
            '0 and can be reached from here, and that no other job uses MASTER_PORT. '
            + torch_said(error)
        ) from error
    joined(store)
    where = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
    return (
        f'rank {torch_dist.get_rank()} of {torch_dist.get_world_size()} joined through '
        f'{launcher} at {where} with backend {backend}'
    )


def _read_environment(launcher: str, timeout: float) -> str | None:
    """torchrun's variables, whatever the launcher sets; the name of the job where it has one."""
    if launcher == 'mpi':
        return _from_mpi(timeout)
    if launcher == 'slurm':
        return _from_slurm()
    _from_torchrun()
    return None


def _take_device() -> None:
    if torch.cuda.is_available():
        local_rank = int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()
        os.environ['LOCAL_RANK'] = str(local_rank)
        torch.cuda.set_device(local_rank)


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
