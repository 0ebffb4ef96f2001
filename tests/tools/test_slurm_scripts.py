"""The Slurm scripts with stand-ins for Slurm's own commands, which say how they were called."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
SRUN = """#!/usr/bin/env bash
trap 'echo signalled; exit 75' USR1
printf '%s\\n' "$@"
echo .
for _ in $(seq "${SECONDS_TO_RUN:-0}"); do sleep 1 & wait $!; done
"""
SCONTROL = '#!/usr/bin/env bash\necho scontrol "$@"\n'


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(script, *arguments, **environment): the process of a script of tools/."""
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')

    def run(script: str, *arguments: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            ['bash', str(TOOLS / script), *arguments], text=True, stdout=subprocess.PIPE,
            env=dict(os.environ, PYTHON='python', **environment),
        )  # fmt: skip

    return run


def test_one_task_a_gpu_and_eight_gpus_a_node(start):
    process = start('slurm_train.sh', 'part', 'job', 'c.py', '--tag', 'a b', GPUS='16')
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert output.split('\n')[:-2] == [
        '--partition=part', '--job-name=job', '--gres=gpu:8', '--ntasks=16', '--ntasks-per-node=8',
        '--cpus-per-task=5', '--kill-on-bad-exit=1', 'python', '-u', f'{TOOLS}/train.py', 'c.py',
        '--tag', 'a b', '--resume', '--launcher', 'slurm',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('given', 'passed'),
    [
        (['--load-from', 'w.pth'], ['--load-from', 'w.pth', '--resume']),
        (['--resume', 'w.pth'], ['--resume', 'w.pth']),
        (['--resume-from', 'w.pth'], ['--resume-from', 'w.pth']),
        (['--auto-resume'], ['--auto-resume']),
    ],
)
def test_a_requeued_job_resumes_whatever_it_first_started_from(start, given, passed):
    output, _ = start('slurm_train.sh', 'p', 'j', 'c.py', *given).communicate()

    assert output.split('c.py\n')[1].split('\n--launcher')[0].split('\n') == passed


def test_srun_arguments_are_several(start):
    extra = dict(SRUN_ARGS='--qos=low --exclusive')
    output, _ = start('slurm_train.sh', 'p', 'j', 'c.py', **extra).communicate()

    assert '--qos=low\n--exclusive\npython' in output


def test_testing_takes_a_config_and_a_checkpoint(start):
    output, _ = start('slurm_test.sh', 'p', 'j', 'c.py', 'w.pth', '--aug-test').communicate()

    assert '--gres=gpu:4\n--ntasks=4\n--ntasks-per-node=4\n' in output
    assert f'{TOOLS}/test.py\nc.py\nw.pth\n--aug-test\n--launcher\nslurm\n' in output


def test_a_stopped_job_passes_the_signal_on_and_is_put_back(start):
    environment = dict(SECONDS_TO_RUN='20', SLURM_JOB_ID='7')
    process = start('slurm_train.sh', 'p', 'j', 'c.py', **environment)
    while process.stdout.readline() != '.\n':
        pass
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)

    assert output == 'signalled\nscontrol requeue 7\n'
    assert process.returncode == 75


@pytest.mark.parametrize('name', ['GPUS', 'GPUS_PER_NODE'])
def test_a_count_that_is_no_number_is_refused_and_never_evaluated(start, tmp_path, name):
    hostile = {name: f'a[$(touch {tmp_path}/ran)]'}
    process = start('slurm_train.sh', 'p', 'j', 'c.py', **hostile)
    process.communicate(timeout=20)

    assert process.returncode == 2
    assert not (tmp_path / 'ran').exists()


def test_a_partition_of_small_nodes_without_gpus_is_asked_for_what_it_has(start, tmp_path):
    sinfo = (
        '#!/usr/bin/env bash\ncase "$*" in *%G*) echo "(null)" ;; *) printf "8\\n4\\n" ;; esac\n'
    )
    (tmp_path / 'sinfo').write_text(sinfo)
    (tmp_path / 'sinfo').chmod(0o755)
    output, _ = start('slurm_train.sh', 'p', 'j', 'c.py', GPUS='2').communicate(timeout=20)

    assert '--gres' not in output
    assert '--cpus-per-task=2\n' in output
