"""Every way in which a real Slurm stops a job: saved, put back, and the same weights in the end."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.cluster.conftest import LAST, SOAK, TOOLS, TRIALS, Job, Waiting, at_once, job_state, sh
from helpers.runs import assert_same_run

DOCS = TOOLS.parent / 'docs' / 'clusters.md'


@pytest.fixture(scope='session')
def straight(slurm, tmp_path_factory) -> Callable[..., Path]:
    """Last checkpoint of a job with such options that nothing happened to; each runs once."""
    made: dict[str, Path] = {}

    def run(**options) -> Path:
        if repr(options) not in made:
            job = Job(slurm, tmp_path_factory.mktemp('straight'), **options)
            assert job.wait_until('COMPLETED', 'FAILED') == 'COMPLETED', job.told()
            made[repr(options)] = job.folder / 'run' / LAST
        return made[repr(options)]

    return run


def in_training(job: Job) -> None:
    job.wait_for(rf'Iter\(train\) \[ *{random.choice([5, 10, 20])}/60\]|Stopped by SIG')


def in_validation(job: Job) -> None:
    job.wait_for(r'Iter\(val\)')


def in_start_up(job: Job) -> None:
    job.wait_until('RUNNING')
    time.sleep(random.uniform(0, 3))


def signal(job: Job) -> None:
    sh('scancel', '--signal=USR1', job.id)


def signal_script(job: Job) -> None:
    sh('scancel', '--batch', '--signal=USR1', job.id)


def requeue_by_hand(job: Job) -> None:
    sh('scontrol', 'requeue', job.id)


def preempt(job: Job) -> None:
    """The urgent job of one trial takes the nodes from all that run."""
    if 'Stopped by SIG' in job.log():
        return
    script = job.folder / 'urgent.sh'
    script.write_text('#!/usr/bin/env bash\nsleep 1\n')
    job.slurm.submit(script, '-p', 'urgent', '-N2', '--exclusive', '-o', '/dev/null')


def until_the_limit(job: Job) -> None:
    job.wait_for(r'Stopped by SIG', limit=300)


def nothing(job: Job) -> None:
    """Slurm does it."""


LONG_VALIDATION = dict(val_dataloader__dataset__num_images=300)
SLOW = dict(custom_hooks__0__seconds=3)
# when, what, options of the run, of sbatch
STOPS: dict[str, tuple] = {
    'scancel --signal': (in_training, signal, {}, ()),
    'a signal to the batch script': (in_training, signal_script, {}, ()),
    'requeue by hand': (in_training, requeue_by_hand, {}, ()),
    'preemption': (in_training, preempt, {}, ()),
    'during start-up': (in_start_up, signal_script, {}, ()),
    'in validation': (in_validation, signal, LONG_VALIDATION, ()),
    'time limit': (until_the_limit, nothing, SLOW, ('--time=1',)),
    'time limit with --signal': (
        until_the_limit, nothing, SLOW, ('--time=1', '--signal=B:USR1@10'),
    ),
}  # fmt: skip


SHORT = 'scancel --signal'  # the others: make cluster-test


def ranks_of(trial: int) -> dict[str, int]:
    """Two, on two nodes, in every third trial."""
    return dict(ranks=1 if trial % 3 else 2)


@pytest.mark.parametrize('kind', STOPS)
def test_a_stopped_job_is_saved_put_back_and_ends_with_the_same_weights(
    slurm, tmp_path, straight, record, kind
):
    if kind != SHORT and not SOAK:
        pytest.skip('make cluster-test runs it')
    wait, stop, options, words = STOPS[kind]
    same = {} if options is SLOW else options  # slow or not, the weights are the same
    references = [straight(**dict(ranks_of(trial), **same)) for trial in range(TRIALS)[:2]]

    def run(trial: int) -> None:
        job = Job(slurm, tmp_path / str(trial), *words, **dict(ranks_of(trial), **options))
        wait(job)
        stop(job)
        if wait is not in_start_up:
            job.wait_for('Stopped by SIG')
        ends = 'COMPLETED', 'FAILED', 'CANCELLED', 'TIMEOUT'
        assert job.wait_until(*ends, limit=400) == 'COMPLETED', job.told()
        assert 'Restarts=0' not in sh('scontrol', 'show', 'job', job.id)
        if wait is in_validation:
            assert 'in the validation after iteration 30' in job.log()
        assert_same_run(job.folder / 'run' / LAST, references[min(trial % 3, 1)])

    at_once(run)
    record(f'Slurm: {kind}', TRIALS, TRIALS, 'saves, is put back and goes on')


def test_a_cancelled_job_is_saved_and_stays_away(slurm, tmp_path, straight, record):
    references = [straight(**ranks_of(trial)) for trial in range(TRIALS)[:2]]

    def run(trial: int) -> None:
        job = Job(slurm, tmp_path / str(trial), **ranks_of(trial))
        in_training(job)
        sh('scancel', job.id)
        assert job.wait_until('CANCELLED', 'PENDING') == 'CANCELLED', job.told()
        job.wait_for('everything is saved')
        again = Job(slurm, job.folder, **ranks_of(trial))
        assert again.wait_until('COMPLETED', 'FAILED') == 'COMPLETED', again.told()
        assert_same_run(job.folder / 'run' / LAST, references[min(trial % 3, 1)])

    at_once(run)
    record('Slurm: scancel', TRIALS, TRIALS, 'saves and stays away; submitted again it goes on')


def test_one_task_of_an_array_is_put_back_alone(slurm, tmp_path, straight, record):
    if not SOAK:
        pytest.skip('make cluster-test runs it')
    reference = straight(ranks=1)

    def run(trial: int) -> None:
        job = Job(slurm, tmp_path / str(trial), '--array=0-1', ranks=1)
        for part in '01':
            job.wait_for(r'Iter\(train\) \[ *5/60\]', part)
        shown = sh('scontrol', 'show', 'job', job.id)
        own = re.search(rf'JobId={job.id} ArrayJobId={job.id} ArrayTaskId=(\d)', shown)[1]
        sh('scancel', '--signal=USR1', f'{job.id}_{own}')
        job.wait_for('Stopped by SIG', own)
        other = str(1 - int(own))
        parts = [Path(job.folder, f'run{part}', LAST) for part in (own, other)]
        end, queue = time.monotonic() + 400, Waiting()
        while not all(part.exists() for part in parts) or job_state(job.id) == 'RUNNING':
            # The number of the task, which is not that of the array; of this array alone.
            shown = ('squeue', '-h', '-j', job.id, '-t', 'PENDING', '-o', '%A')
            queue.shorten(sh(*shown, check=False).split())
            assert time.monotonic() < end, job.log(own)[-2000:]
            time.sleep(0.5)
        assert 'Stopped by' not in job.log(other)
        for part in parts:
            assert_same_run(part, reference)

    at_once(run)
    record('Slurm: one task of an array', TRIALS, TRIALS, 'that task alone is put back')


def test_the_documented_batch_script_ends_with_the_status_of_the_run(slurm, tmp_path):
    script = re.search(r'( {4}#!/usr/bin/env bash\n(?: {4}.*\n)+)', DOCS.read_text())[1]
    lines = [line[4:] for line in script.splitlines()]
    text = '\n'.join(lines).replace('bash tools/', f'bash {TOOLS}/')
    text = re.sub(r'--nodes=\d+ --ntasks-per-node=\d+ --gpus-per-node=\d+ --cpus-per-task=\d+',
                  '--nodes=1', text)  # fmt: skip
    text = text.replace('GPUS=16', 'GPUS=1 CPUS_PER_TASK=1 exec').replace('exec exec', 'exec')
    text = text.replace('PARTITION', 'main').replace('CONFIG', 'no_such_config.py')
    (tmp_path / 'job.sh').write_text(text + '\n')
    job = slurm.submit(tmp_path / 'job.sh', '-o', str(tmp_path / 'out'))
    end = time.monotonic() + 60
    while (state := job_state(job)) in ('PENDING', 'RUNNING', 'COMPLETING'):
        assert time.monotonic() < end
        time.sleep(0.3)
    assert state == 'FAILED', (tmp_path / 'out').read_text()
