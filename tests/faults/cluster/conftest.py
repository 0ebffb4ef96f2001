"""A real Slurm of two nodes on this machine, and jobs for it.

Each node is a network namespace of its own, with its own host name; the daemons talk over a bridge
between them (10.99.0.0/24) and nowhere else. It needs root and Debian's slurm-wlm, munge and
iproute2; where one is missing the tests are skipped, with the reason.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.tiny_config import write_tiny_config

TOOLS = Path(__file__).resolve().parents[3] / 'tools'
SOAK = int(os.environ.get('SEGKIT_SOAK_KILLS', 0))
TRIALS = SOAK or 1
NODES = {'n1': '10.99.0.1', 'n2': '10.99.0.2'}
CONTROL = '10.99.0.254'
BRIDGE = 'segkitbr'

CONFIG = """
ClusterName=segkit
SlurmctldHost=ctl({control})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={state}/state
SlurmctldPidFile={state}/ctl.pid
SlurmctldLogFile={state}/ctl.log
SlurmdPidFile={state}/%n.pid
SlurmdLogFile={state}/%n.log
SlurmdSpoolDir={state}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,requeue_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
ReturnToService=2
MinJobAge=3600
PropagateResourceLimitsExcept=ALL
NodeName=n1 NodeAddr={n1} CPUs=8 State=UNKNOWN
NodeName=n2 NodeAddr={n2} CPUs=8 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=n[1-2] MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def sh(*words: str, check: bool = True) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired as error:
        if not check:
            return ''
        raise RuntimeError(f'{" ".join(words)}: no answer within a minute') from error
    if check and done.returncode:
        raise RuntimeError(f'{" ".join(words)}: {done.stderr.strip()}')
    return done.stdout


class Slurm:
    """``submit`` jobs, send them signals, ask for their state."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.hosts = state / 'hosts'
        self.own_munge = False

    def up(self) -> None:
        (self.state / 'state').mkdir()
        for node in NODES:
            (self.state / f'spool-{node}').mkdir()
        lines = ['127.0.0.1 localhost', f'{CONTROL} ctl', *(f'{a} {n}' for n, a in NODES.items())]
        self.hosts.write_text('\n'.join(lines) + '\n')
        text = CONFIG.format(control=CONTROL, state=self.state, **NODES)
        (self.state / 'slurm.conf').write_text(text)
        (self.state / 'cgroup.conf').write_text('CgroupPlugin=cgroup/v1\n')
        os.environ['SLURM_CONF'] = str(self.state / 'slurm.conf')
        self._munge()
        self._network()
        self._in('ctl', None, 'slurmctld', '-c')
        for node in NODES:
            self._in(node, f'sk{node}', 'slurmd', '-N', node)
        end = time.monotonic() + 60
        while sh('sinfo', '-h', '-N', '-p', 'main', '-o', '%T', check=False).count('idle') < 2:
            if time.monotonic() > end:
                logs = [log.read_text()[-500:] for log in sorted(self.state.glob('*.log'))]
                raise RuntimeError('the nodes are not idle after a minute: ' + ' | '.join(logs))
            time.sleep(0.5)

    def _munge(self) -> None:
        """A socket alone says nothing: that of a daemon which was killed stays behind."""
        if subprocess.run(['munge', '-n'], capture_output=True).returncode:
            sh('install', '-d', '-m', '755', '-o', 'munge', '-g', 'munge', '/run/munge')
            sh('su', '-s', '/bin/sh', 'munge', '-c', '/usr/sbin/munged --force')
            self.own_munge = True
            sh('munge', '-n')

    def _network(self) -> None:
        self._remove_network()  # what a test run that was killed has left
        sh('ip', 'link', 'add', BRIDGE, 'type', 'bridge')
        sh('ip', 'addr', 'add', f'{CONTROL}/24', 'dev', BRIDGE)
        sh('ip', 'link', 'set', BRIDGE, 'up')
        for node, address in NODES.items():
            space, card = f'sk{node}', f'skv{node}'
            sh('ip', 'netns', 'add', space)
            peer = ['peer', 'name', 'eth0', 'netns', space]
            sh('ip', 'link', 'add', card, 'type', 'veth', *peer)
            sh('ip', 'link', 'set', card, 'master', BRIDGE, 'up')
            sh('ip', '-n', space, 'addr', 'add', f'{address}/24', 'dev', 'eth0')
            for device in ('eth0', 'lo'):
                sh('ip', '-n', space, 'link', 'set', device, 'up')

    def _in(self, host: str, space: str | None, *command: str) -> str:
        """Run ``command`` as on ``host``: its name, its network, names of the others known."""
        script = f'hostname {host}; mount --bind {self.hosts} /etc/hosts; exec "$@"'
        place = ['ip', 'netns', 'exec', space] if space else []
        return sh(*place, 'unshare', '--uts', '--mount', 'sh', '-c', script, 'sh', *command)

    def down(self) -> None:
        for job in sh('squeue', '-h', '-o', '%i', check=False).split():
            sh('scancel', job, check=False)
        for file in self.state.glob('*.pid'):
            sh('kill', file.read_text().strip(), check=False)
        time.sleep(1)
        self._remove_network()
        if self.own_munge:
            sh('su', '-s', '/bin/sh', 'munge', '-c', '/usr/sbin/munged --stop', check=False)

    def _remove_network(self) -> None:
        for node in NODES:
            sh('ip', 'link', 'del', f'skv{node}', check=False)
            sh('ip', 'netns', 'del', f'sk{node}', check=False)
        sh('ip', 'link', 'del', BRIDGE, check=False)

    def submit(self, script: Path, *words: str) -> str:
        command = ['sbatch', '--parsable', '--chdir', str(script.parent), *words, str(script)]
        return self._in('ctl', None, *command).strip()


def job_state(job: str) -> str:
    """'RUNNING', 'PENDING', ...; 'JobState=... ExitCode=...' is in ``scontrol show job``."""
    return re.search(r'JobState=(\S+)', sh('scontrol', 'show', 'job', job))[1]


@pytest.fixture(scope='session')
def slurm(tmp_path_factory):
    programs = ['slurmctld', 'slurmd', 'munged', 'ip', 'unshare']
    missing = [name for name in programs if shutil.which(name, path=_path()) is None]
    if os.geteuid() or missing:
        pytest.skip(f'no Slurm here: root={not os.geteuid()}, missing: {", ".join(missing)}')
    os.environ['PATH'] = _path()
    cluster = Slurm(tmp_path_factory.mktemp('slurm'))
    try:
        try:
            cluster.up()
        except RuntimeError as error:
            pytest.skip(f'Slurm does not start here: {error}')
        yield cluster
    finally:
        cluster.down()


def _path() -> str:
    return f'{os.environ["PATH"]}:/usr/sbin:/sbin'


class Job:
    """A batch job around tools/slurm_train.sh: two ranks, one on each node."""

    text = """#!/usr/bin/env bash
#SBATCH --job-name=tiny --nodes=2 --ntasks-per-node=1 --cpus-per-task=1
#SBATCH --requeue --open-mode=append --output={folder}/out{part}
export OMP_NUM_THREADS=1 PYTHONPATH={root} PYTHON={python}
GPUS=2 GPUS_PER_NODE=1 CPUS_PER_TASK=1 exec bash {tools}/slurm_train.sh main tiny \\
    {folder}/tiny.py --work-dir {folder}/run{task} --cfg-options {options}
"""

    def __init__(self, slurm: Slurm, folder: Path, *words: str, **options: object) -> None:
        self.slurm, self.folder = slurm, folder
        array = any(word.startswith('--array') for word in words)
        folder.mkdir(parents=True, exist_ok=True)
        write_tiny_config(folder)
        settings = dict(SETTINGS, **options)
        script = self.text.format(
            folder=folder, root=TOOLS.parent, python=sys.executable, tools=TOOLS,
            part='%a' if array else '', task='$SLURM_ARRAY_TASK_ID' if array else '',
            options=' '.join(f'{k.replace("__", ".")}={v}' for k, v in settings.items()),
        )  # fmt: skip
        (folder / 'job.sh').write_text(script)
        self.id = slurm.submit(folder / 'job.sh', *words)

    def log(self, part: str = '') -> str:
        file = self.folder / f'out{part}'
        return file.read_text() if file.exists() else ''

    def wait_for(self, text: str, part: str = '', limit: float = 180) -> None:
        end = time.monotonic() + limit
        while not re.search(text, self.log(part)):
            assert time.monotonic() < end, f'{text!r} never came: {self.log(part)[-2000:]}'
            time.sleep(0.1)

    def wait_until(self, *states: str, limit: float = 180) -> str:
        """The first of ``states`` that lasts: on its way back a job passes others for a moment."""
        end, before = time.monotonic() + limit, ''
        while (state := job_state(self.id)) not in states or state != before:
            before = state
            assert time.monotonic() < end, f'{state}, not {states}: {self.log()[-2000:]}'
            if state == 'PENDING':  # Slurm lets a job that was put back wait for two minutes
                sh('scontrol', 'update', f'JobId={self.id}', 'StartTime=now', check=False)
            time.sleep(0.5)
        return state


# Long enough to be stopped anywhere in; both ranks write the same checkpoints.
SETTINGS = dict(
    train_cfg__max_iters=80,
    train_cfg__val_interval=40,
    default_hooks__checkpoint__interval=1000,
    default_hooks__logger__interval=5,
    param_scheduler='[]',
    env_cfg__dist_cfg__timeout=60,
)
