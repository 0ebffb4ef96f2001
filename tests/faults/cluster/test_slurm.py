"""Every way in which a real Slurm stops a job: saved, put back, and the same weights in the end."""

import random
import re
import time
from pathlib import Path

import pytest
from faults.cluster.conftest import SOAK, TOOLS, TRIALS, Job, job_state, sh
from helpers.runs import assert_same_run

DOCS = TOOLS.parent / 'docs' / 'clusters.md'


@pytest.fixture(scope='session')
def straight(slurm, tmp_path_factory) -> Path:
    job = Job(slurm, tmp_path_factory.mktemp('straight'))
    assert job.wait_until('COMPLETED', 'FAILED') == 'COMPLETED', job.log()[-2000:]
    return job.folder / 'run' / 'iter_80.pth'


def in_training(job: Job) -> None:
    job.wait_for(rf'Iter\(train\) \[ *{random.choice([5, 10, 20])}/80\]')


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
    script = job.folder / 'urgent.sh'
    script.write_text('#!/usr/bin/env bash\nsleep 1\n')
    job.slurm.submit(script, '-p', 'urgent', '-N2', '--exclusive', '-o', '/dev/null')


LONG_VALIDATION = dict(val_dataloader__dataset__num_images=400, default_hooks__logger__interval=5)
STOPS = {
    'scancel --signal': (in_training, signal, {}),
    'a signal to the batch script': (in_training, signal_script, {}),
    'requeue by hand': (in_training, requeue_by_hand, {}),
    'preemption': (in_training, preempt, {}),
    'during start-up': (in_start_up, signal_script, {}),
    'in validation': (in_validation, signal, LONG_VALIDATION),
}


SHORT = 'scancel --signal'  # the others: make cluster-test


@pytest.mark.parametrize('kind', STOPS)
def test_a_stopped_job_is_saved_put_back_and_ends_with_the_same_weights(
    slurm, tmp_path, straight, record, kind
):
    if kind != SHORT and not SOAK:
        pytest.skip('make cluster-test runs it')
    wait, stop, options = STOPS[kind]
    for trial in range(TRIALS):
        job = Job(slurm, tmp_path / str(trial), **options)
        wait(job)
        stop(job)
        if wait is not in_start_up:
            job.wait_for('Stopped by SIG')
        assert job.wait_until('COMPLETED', 'FAILED', 'CANCELLED') == 'COMPLETED', job.log()
        assert 'Restarts=0' not in sh('scontrol', 'show', 'job', job.id)
        if not options:  # other validation images, other scores
            assert_same_run(job.folder / 'run' / 'iter_80.pth', straight)
    record(f'Slurm: {kind}', TRIALS, TRIALS, 'saves, is put back and goes on')


def test_a_cancelled_job_is_saved_and_stays_away(slurm, tmp_path, straight, record):
    for trial in range(TRIALS):
        job = Job(slurm, tmp_path / str(trial))
        in_training(job)
        sh('scancel', job.id)
        assert job.wait_until('CANCELLED', 'PENDING') == 'CANCELLED'
        job.wait_for('everything is saved')
        again = Job(slurm, job.folder)
        assert again.wait_until('COMPLETED', 'FAILED') == 'COMPLETED', again.log()
        assert_same_run(job.folder / 'run' / 'iter_80.pth', straight)
    record('Slurm: scancel', TRIALS, TRIALS, 'saves and stays away; submitted again it goes on')


def test_one_task_of_an_array_is_put_back_alone(slurm, tmp_path, straight, record):
    if not SOAK:
        pytest.skip('make cluster-test runs it')
    for trial in range(TRIALS):
        job = Job(slurm, tmp_path / str(trial), '--array=0-1')
        for part in '01':
            job.wait_for(r'Iter\(train\) \[ *5/80\]', part)
        shown = sh('scontrol', 'show', 'job', job.id)
        own = re.search(rf'JobId={job.id} ArrayJobId={job.id} ArrayTaskId=(\d)', shown)[1]
        sh('scancel', '--signal=USR1', f'{job.id}_{own}')
        job.wait_for('Stopped by SIG', own)
        other = str(1 - int(own))
        parts = [Path(job.folder, f'run{part}', 'iter_80.pth') for part in (own, other)]
        end = time.monotonic() + 400
        while not all(part.exists() for part in parts) or job_state(job.id) == 'RUNNING':
            waiting = sh('squeue', '-h', '-t', 'PENDING', '-o', '%A', check=False).split()
            for number in waiting:  # the number of the task, which is not that of the array
                sh('scontrol', 'update', f'JobId={number}', 'StartTime=now', check=False)
            assert time.monotonic() < end, job.log(own)[-2000:]
            time.sleep(0.3)
        assert 'Stopped by' not in job.log(other)
        for part in parts:
            assert_same_run(part, straight)
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
