"""A real Slurm of two nodes on this machine, and jobs for it.

Each node is a network namespace of its own, with its own host name; the daemons talk over a bridge
between them (10.99.0.0/24) and nowhere else. It needs root and Debian's slurm-wlm, munge and
iproute2; where one is missing the tests are skipped, with the reason.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.tiny_config import write_tiny_config

TOOLS = Path(__file__).resolve().parents[3] / 'tools'
SOAK = int(os.environ.get('SEGKIT_SOAK_KILLS', 0))
TRIALS = SOAK or 1
AT_ONCE = 6  # jobs of two processes, 0.5 GB each
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
        self.own_munge = self.gone = False

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
        self.gone = True  # trials under way in threads need wait no longer
        for job in sh('squeue', '-h', '-o', '%i', check=False).split():
            sh('scancel', job, check=False)
        for file in self.state.glob('*.pid'):
            sh('kill', file.read_text().strip(), check=False)
        time.sleep(1)
        for node in NODES:  # what did not heed it: jobs that save, daemons that wait for them
            for process in sh('ip', 'netns', 'pids', f'sk{node}', check=False).split():
                sh('kill', '-9', process, check=False)
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
    # What ends the tests ends the daemons as well.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        try:
            cluster.up()
        except RuntimeError as error:
            pytest.skip(f'Slurm does not start here: {error}')
        yield cluster
    finally:
        cluster.down()
        signal.signal(signal.SIGTERM, before)


def _path() -> str:
    return f'{os.environ["PATH"]}:/usr/sbin:/sbin'


def at_once(run: Callable[[int], None]) -> None:
    """``run(number)`` of each trial, a few at a time: Slurm lets a job wait more than it runs."""
    pool = ThreadPoolExecutor(min(TRIALS, AT_ONCE))
    try:
        for trial in [pool.submit(run, number) for number in range(TRIALS)]:
            trial.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Waiting:
    """Slurm lets a job that was put back wait for two minutes; here a few seconds are enough. Not
    fewer: a node refuses to start what it was told to end within the same second ('Job credential
    revoked'), and the job counts as failed."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def shorten(self, pending: list[str]) -> None:
        """Called again and again with the jobs that wait now."""
        now = time.monotonic()
        self.since = {job: self.since.get(job, now) for job in pending}
        for job in [job for job, since in self.since.items() if now - since > 3]:
            sh('scontrol', 'update', f'JobId={job}', 'StartTime=now', check=False)


class Job:
    """A batch job around tools/slurm_train.sh: two ranks, one on each node, or one."""

    text = """#!/usr/bin/env bash
#SBATCH --job-name=tiny --nodes={ranks} --ntasks-per-node=1 --cpus-per-task=1
#SBATCH --requeue --open-mode=append --output={folder}/out{part}
export OMP_NUM_THREADS=1 PYTHONPATH={root}:{folder} PYTHON={python}
GPUS={ranks} GPUS_PER_NODE=1 CPUS_PER_TASK=1 exec bash {tools}/slurm_train.sh main tiny \\
    {folder}/tiny.py --work-dir {folder}/run{task} --cfg-options {options}
"""

    def __init__(
        self, slurm: Slurm, folder: Path, *words: str, ranks: int = 2, **options: object
    ) -> None:
        self.slurm, self.folder = slurm, folder
        array = any(word.startswith('--array') for word in words)
        folder.mkdir(parents=True, exist_ok=True)
        with open(write_tiny_config(folder), 'a') as config:
            config.write(SLOW_CONFIG)
        (folder / 'slow.py').write_text(SLOW)
        settings = dict(SETTINGS, **options)
        script = self.text.format(
            folder=folder, root=TOOLS.parent, python=sys.executable, tools=TOOLS, ranks=ranks,
            part='%a' if array else '', task='$SLURM_ARRAY_TASK_ID' if array else '',
            options=' '.join(f'{k.replace("__", ".")}={v}' for k, v in settings.items()),
        )  # fmt: skip
        (folder / 'job.sh').write_text(script)
        self.id = slurm.submit(folder / 'job.sh', *words)

    def log(self, part: str = '') -> str:
        file = self.folder / f'out{part}'
        return file.read_text() if file.exists() else ''

    def told(self) -> str:
        """What Slurm and the run say of it."""
        return f'{sh("scontrol", "show", "job", self.id, check=False)}\n{self.log()[-2000:]}'

    def wait_for(self, text: str, part: str = '', limit: float = 180) -> None:
        end = time.monotonic() + limit
        while not re.search(text, self.log(part)):
            assert time.monotonic() < end, f'{text!r} never came: {self.log(part)[-2000:]}'
            assert not self.slurm.gone
            time.sleep(0.1)

    def wait_until(self, *states: str, limit: float = 180) -> str:
        """The first of ``states`` that lasts: on its way back a job passes others for a moment."""
        end, before, queue = time.monotonic() + limit, '', Waiting()
        while (state := job_state(self.id)) not in states or state != before:
            before = state
            assert time.monotonic() < end, f'{state}, not {states}: {self.told()}'
            assert not self.slurm.gone
            queue.shorten([self.id] if state == 'PENDING' else [])
            time.sleep(0.5)
        return state


# Long enough to be stopped anywhere in; both ranks write the same checkpoints.
SETTINGS = dict(
    train_cfg__max_iters=60,
    train_cfg__val_interval=30,
    default_hooks__checkpoint__interval=1000,
    default_hooks__logger__interval=5,
    param_scheduler='[]',
    env_cfg__dist_cfg__timeout=60,
)
LAST = 'iter_60.pth'

# A time limit is a minute at least: training that is slow before it is stopped, if told so.
SLOW = """
import os, time
from mmengine.hooks import Hook
from segkit.registry import HOOKS

@HOOKS.register_module()
class SlowAtFirst(Hook):
    def __init__(self, seconds):
        self.seconds = 0 if 'SLURM_RESTART_COUNT' in os.environ else seconds

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter >= 10:
            time.sleep(self.seconds)
"""
SLOW_CONFIG = """
custom_imports = dict(imports=['slow'])
custom_hooks = [dict(type='SlowAtFirst', seconds=0)]
"""
