"""Two simulated nodes, a network namespace each, and the cable between them pulled out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import read
from helpers.tiny_config import write_tiny_config

SCRIPT = Path(__file__).resolve().parents[2] / 'tools' / 'train.py'
LIMIT = 240
TIMEOUT = 20  # seconds a rank waits for the other


def ip(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(['ip', *words], capture_output=True, text=True)


class Network:
    """Namespaces ``a`` and ``b``, joined by a pair of virtual Ethernet cards."""

    def __init__(self) -> None:
        tag = f'{os.getpid() % 10000}'
        self.nodes = [f'sk{tag}a', f'sk{tag}b']
        self.cards = [f'v{tag}a', f'v{tag}b']

    def build(self) -> str:
        """Why it cannot be built here; empty when it is."""
        commands = [['netns', 'add', node] for node in self.nodes]
        commands.append(['link', 'add', self.cards[0], 'type', 'veth', 'peer', self.cards[1]])
        for number, (node, card) in enumerate(zip(self.nodes, self.cards)):
            inside = ['-n', node]
            commands += [
                ['link', 'set', card, 'netns', node],
                [*inside, 'addr', 'add', f'10.77.0.{number + 1}/24', 'dev', card],
                [*inside, 'link', 'set', card, 'up'],
                [*inside, 'link', 'set', 'lo', 'up'],
            ]
        try:
            done = [ip(*command) for command in commands]
        except FileNotFoundError:
            return 'the program "ip" (iproute2) is not installed'
        return next((d.stderr.strip() for d in done if d.returncode), '')

    def remove(self) -> None:
        for node in self.nodes:
            ip('netns', 'del', node)

    def cable(self, state: str) -> None:
        """'down' or 'up'."""
        assert ip('-n', self.nodes[0], 'link', 'set', self.cards[0], state).returncode == 0


@pytest.fixture
def network():
    net = Network()
    try:
        problem = net.build()
        if problem:
            pytest.skip(f'may not create network namespaces here: {problem}')
        yield net
    finally:
        if Path('/usr/sbin/ip').exists() or Path('/sbin/ip').exists():
            net.remove()


class Job:
    """One torchrun a node, one process each."""

    def __init__(self, network: Network, folder: Path, port: int) -> None:
        self.logs = [folder / f'node{i}.log' for i in range(2)]
        self.processes = []
        for number, (node, card) in enumerate(zip(network.nodes, network.cards)):
            command = [
                'ip', 'netns', 'exec', node, sys.executable, '-m', 'torch.distributed.run',
                '--nnodes=2', f'--node_rank={number}', '--nproc_per_node=1',
                '--master_addr=10.77.0.1', f'--master_port={port}', str(SCRIPT),
                str(folder / 'tiny.py'), '--work-dir', str(folder / 'run'), '--resume',
                '--no-validate',
                '--cfg-options', f'env_cfg.dist_cfg.timeout={TIMEOUT}', 'train_cfg.max_iters=60',
            ]  # fmt: skip
            variables = dict(os.environ, OMP_NUM_THREADS='1', GLOO_SOCKET_IFNAME=card)
            with open(self.logs[number], 'a') as log:
                self.processes.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=log, env=variables, start_new_session=True
                    )  # fmt: skip
                )

    def log(self) -> str:
        return '\n'.join(path.read_text() for path in self.logs)

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + LIMIT
        while text not in self.log():
            assert time.monotonic() < end, self.log()[-3000:]
            time.sleep(0.05)

    def wait(self) -> list[int]:
        try:
            return [process.wait(LIMIT) for process in self.processes]
        finally:
            for process in self.processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def test_a_cut_link_ends_the_job_in_time_and_it_resumes(network, tmp_path, record):
    write_tiny_config(tmp_path)
    job = Job(network, tmp_path, 29517)
    job.wait_for('Saved iter_2.pth')
    network.cable('down')
    start = time.monotonic()
    statuses = job.wait()
    took = time.monotonic() - start
    assert statuses == [1, 1], job.log()[-3000:]
    assert took < TIMEOUT + 90
    assert 'contact with another rank was lost' in job.log()
    assert 'go on with --resume' in job.log()
    network.cable('up')
    again = Job(network, tmp_path, 29518)
    assert again.wait() == [0, 0], again.log()[-3000:]
    assert 'Resumed from' in again.log()
    assert read(tmp_path / 'run' / 'iter_60.pth')['meta']['iter'] == 60
    record('link between two nodes cut', 1, 1, 'ends within the timeout, says so; goes on later')
