"""Signals from the first statement of a tool to its end, and what a launcher makes of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.runs import assert_same_run, read, train
from helpers.tiny_config import tiny_config, write_tiny_config
from mmengine.hooks import Hook

from segkit.engine import Runner, stops

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


class SignalIn(Hook):
    """Send this process ``number`` in the hook point ``where`` of iteration ``at``."""

    def __init__(self, where: str, at: int, number: int = signal.SIGTERM) -> None:
        def send(runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == at:
                os.kill(os.getpid(), number)

        setattr(self, where, send)


def stop(folder: Path, hook: Hook, **options) -> int:
    """Train until ``hook`` has stopped it; returns the status."""
    runner = Runner.from_cfg(tiny_config(folder, **options))
    runner.register_hook(hook)
    before = [signal.getsignal(number) for number in (*stops.SIGNALS, signal.SIGINT)]
    with pytest.raises(SystemExit) as stopped:
        runner.train()
    assert [signal.getsignal(number) for number in (*stops.SIGNALS, signal.SIGINT)] == before
    return stopped.value.code


@pytest.mark.parametrize('hooks', [[], [dict(type='EMAHook', momentum=0.1)]], ids=['plain', 'ema'])
def test_a_signal_in_a_validation_acts_between_two_batches_and_the_run_goes_on(tmp_path, hooks):
    options = dict(custom_hooks=hooks, default_hooks__checkpoint__interval=100)
    train(tmp_path / 'straight', **options)
    seen = []

    class Count(SignalIn):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            seen.append(batch_idx)

    folder = tmp_path / 'stopped'
    assert stop(folder, Count('after_val_iter', at=4), **options) == 75
    assert len(seen) % len(Runner.from_cfg(tiny_config(folder, **options)).val_dataloader) == 1
    assert read(folder / 'iter_4.pth')['meta']['iter'] == 4

    train(folder, **options, resume=True)
    assert_same_run(folder / 'iter_8.pth', tmp_path / 'straight' / 'iter_8.pth')


@pytest.mark.parametrize(
    ('where', 'at', 'saved'),
    [
        ('after_train_iter', 3, 4),
        ('after_val_iter', 4, 4),
        ('after_train_iter', 7, 8),
        ('after_val_iter', 8, 8),
    ],
)
def test_a_run_stopped_before_the_scores_of_a_checkpoint_saves_it_again_with_them(
    tmp_path, where, at, saved
):
    keep_all = dict(default_hooks__checkpoint__max_keep_ckpts=-1)
    train(tmp_path / 'straight', **keep_all)
    folder = tmp_path / 'stopped'
    assert stop(folder, SignalIn(where, at=at), **keep_all) == 75
    assert (folder / 'last_checkpoint').read_text() == f'iter_{saved}.pth'

    train(folder, **keep_all, resume=True)
    for name in ('iter_4.pth', 'iter_8.pth', 'best_mIoU_iter_4.pth'):
        assert_same_run(folder / name, tmp_path / 'straight' / name)


@pytest.mark.parametrize('number', stops.SIGNALS[2:])
def test_what_other_schedulers_and_closed_terminals_send_saves_too(tmp_path, number):
    assert stop(tmp_path, SignalIn('before_train_iter', at=2, number=number)) == 75
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_3.pth'
    assert len(stops.SIGNALS) == 5


WATCHED = """
import os, signal
{before}
from segkit.engine import stops
stops.watch()
{then}
os._exit(3)
"""
IGNORE = 'signal.signal(signal.SIGHUP, signal.SIG_IGN)'
TRAINED = 'stops.training_begins(); stops.training_ends(); signal.raise_signal(signal.SIGTERM)'


@pytest.mark.parametrize(
    ('before', 'then', 'status'),
    [
        ('', 'signal.raise_signal(signal.SIGHUP)', 75),
        (IGNORE, 'signal.raise_signal(signal.SIGHUP)', 3),  # nohup
        ('', TRAINED, 3),
        ('', f'{TRAINED}; stops.training_is_over(); signal.raise_signal(signal.SIGTERM)', 75),
        ('', 'os.environ["SEGKIT_EXIT_FILE"] = "no/folder"; stops.report(75)', 3),
    ],
)
def test_how_a_tool_hears_before_and_after_its_training(before, then, status):
    command = [sys.executable, '-c', WATCHED.format(before=before, then=then)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr


def test_ctrl_c_saves_and_ends_with_130(tmp_path, capfd):
    assert stop(tmp_path, SignalIn('before_train_iter', at=2, number=signal.SIGINT)) == 130
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_3.pth'
    assert 'Exit status 130: start again with --resume' in ''.join(capfd.readouterr())


def test_a_second_ctrl_c_leaves_at_once_unless_it_is_the_first_passed_on_twice():
    stops.training_begins()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stops.asked() == signal.SIGINT
        stops._Stop.at -= 2
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        stops.training_ends()


@pytest.mark.skipif(not hasattr(signal, 'SIGUSR1'), reason='POSIX')
def test_a_signal_while_a_tool_imports_ends_it_with_75(tmp_path):
    command = [sys.executable, str(TOOLS / 'train.py'), str(write_tiny_config(tmp_path))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    blocked = Path(f'/proc/{process.pid}/status')
    end = time.monotonic() + 30
    # SigCgt, the signals a process has handlers for: bit 14 is SIGTERM.
    while not int(blocked.read_text().split('SigCgt:')[1].split()[0], 16) >> 14 & 1:
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 75
    assert said.startswith('Stopped by SIGTERM; nothing new to save.')


LATE = """
from segkit.engine import stops
stops.watch()
import os, signal, threading
from segkit.engine.command_line import run_script

def main():
    late = threading.Timer(0.3, os.kill, (os.getpid(), signal.{name}))
    late.daemon = True
    late.start()
    raise RuntimeError('{error}')

run_script(main)
"""
GLOO = '[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:3'


@pytest.mark.parametrize(
    ('error', 'name', 'status'),
    [(GLOO, 'SIGTERM', 75), (GLOO, 'SIGINT', 130), ('a mistake', 'SIGTERM', 1)],
)
def test_a_rank_that_starts_loses_the_others_before_its_own_signal_comes(error, name, status):
    command = [sys.executable, '-c', LATE.format(error=error, name=name)]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr


def test_a_tool_that_fails_before_it_trains_still_hears(tmp_path):
    class Lost(Hook):
        def before_train(self, runner):
            raise RuntimeError('an error')

    stops.watch()
    runner = Runner.from_cfg(tiny_config(tmp_path))
    runner.register_hook(Lost())
    with pytest.raises(RuntimeError, match='an error'):
        runner.train()
    assert signal.getsignal(signal.SIGTERM) is stops._note
    assert stops.starting()


ENDS = [
    # status of the launcher, said by the ranks, whether the script was signalled -> status
    ('0', '', '1', '0'),
    ('75', '75', '', '75'),
    ('1', '75', '1', '75'),  # torchrun's way of saying it
    ('143', '75\n75', '', '75'),  # a rank that srun ended while it left
    ('1', '75\n1', '1', '1'),  # one saved, another failed
    ('137', '75', '', '137'),  # a rank was killed
    ('143', '', '1', '75'),  # before Python could listen
    ('143', '', '', '143'),
    ('129', '', '1', '75'),  # a terminal that was closed
    ('140', '', '1', '75'),
    ('152', '', '', '152'),
    ('130', '130', '1', '130'),
    ('2', '', '', '2'),
]


@pytest.mark.parametrize(('launcher', 'said', 'signalled', 'status'), ENDS)
def test_the_script_tells_a_saved_run_from_a_failed_one(
    tmp_path, launcher, said, signalled, status
):
    (tmp_path / 'said').write_text(said + '\n' if said else '')
    script = f'source {TOOLS}/launch_lib.sh; how_it_ended "{launcher}" "{signalled}"'
    environment = dict(os.environ, SEGKIT_EXIT_FILE=str(tmp_path / 'said'))
    answer = subprocess.run(['bash', '-c', script], env=environment, capture_output=True, text=True)
    assert answer.stdout.strip() == status
