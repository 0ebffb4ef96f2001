"""Joining a distributed job: which launcher, where the ranks meet, and saying what was chosen.

mmengine's ``init_dist`` calls ``torch.cuda.set_device`` even without a GPU, always asks for NCCL,
divides by zero under Slurm on a CPU node and takes an error text of ``scontrol`` for a host name.
All launchers end here in the same five environment variables that torchrun sets.

The ranks meet at a key-value store on a port that no other job answers at. torchrun says where.
Under Slurm and MPI the first rank opens the store on any free port, and tells which at the first
free one of a few ports that follow from the name of the job step, so that steps which share a node
do not meet; the others ask there.
"""

import contextlib
import datetime
import os
import re
import socket
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import torch
import torch.distributed as torch_dist
from torch.distributed import PrefixStore, Store, TCPStore

from segkit.engine.dist import LaunchError, joined
from segkit.engine.errors import torch_said

# Below the ports that Linux hands out to any program that asks for one (32768 and up).
_FIRST, _COUNT, _TRIES = 10000, 20000, 16
_NAME = 'segkit'
_desks: list[socket.socket] = []  # of those who tell where the store is
_hints: list[Path] = []  # files that say so


def _variable(name: str, launcher: str) -> str:
    if name not in os.environ:
        raise LaunchError(
            f'--launcher {launcher} needs the environment variable {name}, which is not set: '
            f'start the script through {_STARTER[launcher]}, or leave --launcher out to run one '
            'process'
        )
    return os.environ[name]


_STARTER = dict(pytorch='torchrun --nproc_per_node N', slurm='srun', mpi='mpirun')


def _first_host(node_list: str) -> str:
    """The first host of a Slurm node list such as ``gpu[03-07,12],cpu1``; without Slurm's commands,
    as in a container, too."""
    try:
        command = ['scontrol', 'show', 'hostnames', node_list]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return answer.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        first = re.match(r'(?:[^,[]|\[[^]]*\])*', node_list)
        return re.sub(r'\[([^],-]*)[^]]*\]', r'\1', first[0] if first else node_list)


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
        if torch.cuda.is_available():
            local_rank = int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()
            os.environ['LOCAL_RANK'] = str(local_rank)
            torch.cuda.set_device(local_rank)
        store = meet(rank, world_size, job, timeout)
        limit = datetime.timedelta(seconds=float(timeout))
        torch_dist.init_process_group(
            backend, timeout=limit, store=store, rank=rank, world_size=world_size, **kwargs
        )
    except LaunchError:
        raise
    except RuntimeError as error:
        where = f'{os.environ.get("MASTER_ADDR", "?")}:{os.environ.get("MASTER_PORT", "?")}'
        raise LaunchError(
            f'rank {os.environ["RANK"]} of {os.environ["WORLD_SIZE"]} could not join the job at '
            f'{where}: check that every rank was started, that MASTER_ADDR names the node of rank '
            '0 and can be reached from here, and that no other job uses MASTER_PORT. '
            + torch_said(error)
        ) from error
    _leave_desks()  # no other rank is still to come
    joined(store)
    where = f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}'
    return (
        f'rank {torch_dist.get_rank()} of {torch_dist.get_world_size()} joined through '
        f'{launcher} at {where} with backend {backend}'
    )


def _read_environment(launcher: str, timeout: float) -> str | None:
    """torchrun's variables, whatever the launcher sets; the name of the job where it has one."""
    for name in ('MASTER_ADDR', 'MASTER_PORT'):
        if not os.environ.get(name, '-').strip():  # of a command in a script that found nothing
            del os.environ[name]
    port = os.environ.get('MASTER_PORT', '1').strip()
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise LaunchError(
            f'MASTER_PORT={port!r} is no port: set a number from 1 to 65535 that is free on the '
            'node of rank 0, or unset it'
        )
    if launcher == 'mpi':
        return _from_mpi(timeout)
    if launcher == 'slurm':
        return _from_slurm()
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT'):
        _variable(name, 'pytorch')
    return None


# -- where the ranks meet --------------------------------------------------------------------------


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
        # So has each job: a rank of one whose port was taken already asks in the store of another.
        serve = rank == 0 and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True'
        kept = TCPStore(address, port, world_size, serve, limit, wait_for_workers=False)
        name = job or os.environ.get('TORCHELASTIC_RUN_ID', '')
        attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)
        return PrefixStore(f'segkit/{name}/{attempt}', kept)
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
            desk = _open_desk(port)
        except OSError:
            continue
        _desks.append(desk)
        answer = f'{_NAME} {job}\t{store.port}\n'.encode()
        threading.Thread(target=_tell, args=(desk, answer), daemon=True).start()
        return store.port, store
    raise RuntimeError(f'no port among {candidate_ports(job)} is free')


def _open_desk(port: int) -> socket.socket:
    """Open to IPv4 and IPv6, as torch's store is."""
    if not socket.has_dualstack_ipv6():
        return socket.create_server(('', port), backlog=1024)
    return socket.create_server(
        ('', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
    )


def _leave_desks() -> None:
    while _desks:
        _desks.pop().close()
    while _hints:
        _hints.pop().unlink(missing_ok=True)


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
        _hints.append(file.resolve())
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
        return socket.getaddrinfo(host, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except OSError:
        return []
