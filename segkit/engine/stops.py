"""Signals that ask a run to stop, heard from the first statement of a tool to its process's end.

    starting          nothing has been trained: the process ends at once, with status 75
    training          noted: the loop saves after the iteration, or between two batches of a
                      validation, and ends with status 75, after Ctrl-C with 130
    saving, ending    noted, and nothing more: what is being written gets written

Status 75 (EX_TEMPFAIL of sysexits.h, "try again later") asks a scheduler to start the run again.
Only the standard library is imported here, so that a tool listens before it imports torch.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

REQUEUE = 75
INTERRUPTED = 130
# SIGUSR2 and SIGXCPU warn of a limit under LSF and Grid Engine, SIGHUP comes when a terminal or an
# ssh closes. Windows has SIGTERM alone.
_NAMES = ('SIGTERM', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU', 'SIGHUP')
SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
_LATE_S = 1.0  # a signal to all ranks comes to the last of them within this
_TWICE_S = 1.0  # two Ctrl-C within this are one: a terminal and a launcher both pass it on


class _Stop:
    """What this process was asked, and whether its loop is there to act on it."""

    asked: int | None = None
    at = 0.0
    training = False
    begun = False
    tool = False
    owner = 0
    previous: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}


def watch() -> None:
    """A tool's first statement: hear signals until this process has ended."""
    _Stop.tool = True
    _install()


def _install() -> None:
    """Python allows handlers in the main thread only; a notebook may train in another."""
    if not _Stop.previous and threading.current_thread() is threading.main_thread():
        _Stop.owner, _Stop.asked = os.getpid(), None
        heard = [number for number in SIGNALS if not _is_nohup(number)]
        _Stop.previous = {number: signal.signal(number, _note) for number in heard}


def _is_nohup(number: int) -> bool:
    """Whether the process was started under nohup, which has it ignore a closed terminal."""
    name = signal.Signals(number).name
    return name == 'SIGHUP' and signal.getsignal(number) is signal.SIG_IGN


def training_begins() -> None:
    """From now on the loop acts on what is asked, Ctrl-C among it."""
    _install()
    _Stop.training = _Stop.begun = True
    if _Stop.previous:
        _Stop.previous[signal.SIGINT] = signal.signal(signal.SIGINT, _note)


def leave_if_asked() -> None:
    """Before anything was trained: nothing is to be saved."""
    if _Stop.asked == signal.SIGINT:
        raise KeyboardInterrupt
    if _Stop.asked is not None:
        _leave(_Stop.asked)


def starting() -> bool:
    """Whether this is a tool that listens and has not begun to train."""
    return _Stop.tool and bool(_Stop.previous) and not _Stop.begun


def leave_if_asked_soon() -> None:
    """The other ranks are lost, perhaps to a signal that has not come here yet: a launcher signals
    one process after another."""
    time.sleep(_LATE_S)
    leave_if_asked()


def training_ends() -> None:
    """All is saved. In a tool a signal changes nothing any more; elsewhere the handlers that were
    there before are put back. Ctrl-C is Python's again."""
    if not _Stop.training:  # it failed while it started, or has ended before
        return
    _Stop.training = False
    restored = {signal.SIGINT} if _Stop.tool else set(_Stop.previous)
    for number in restored & set(_Stop.previous):
        signal.signal(number, _Stop.previous.pop(number))
    for number in _Stop.previous:
        signal.signal(number, signal.SIG_IGN)


def training_is_over() -> None:
    """In a tool that goes on to what can be made again from what is saved: a signal ends it at
    once, as while it started."""
    if _Stop.tool and not _Stop.training:
        if _Stop.asked is not None:
            _leave(_Stop.asked)
        for number in _Stop.previous:
            signal.signal(number, _note)


def ask(number: int = signal.SIGTERM) -> None:
    """As if signal ``number`` had come."""
    _Stop.asked, _Stop.at = _Stop.asked or number, time.monotonic()


def asked() -> int | None:
    """The first signal that came, None while there was none."""
    return _Stop.asked


def in_training() -> bool:
    """Whether the loop is there to act on a signal."""
    return _Stop.training


def wanted() -> bool:
    """Whether the loop is there, and asked to stop."""
    return _Stop.training and _Stop.asked is not None


def status() -> int:
    """The exit status of a run that saved and stops; 75 on a rank that only heard of a signal."""
    return INTERRUPTED if _Stop.asked == signal.SIGINT else REQUEUE


def report(code: int) -> None:
    """Tell the shell script that started the job how this rank ends.

    torchrun turns every failure into status 1, and srun gives the largest status of its tasks.
    """
    if os.environ.get('SEGKIT_EXIT_FILE'):
        # On another node its folder may not be there; a full disk is no reason to end otherwise.
        with contextlib.suppress(OSError), open(os.environ['SEGKIT_EXIT_FILE'], 'a') as file:
            file.write(f'{code}\n')


def _note(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _Stop.owner:  # a data worker forked from here: its parent decides
        return
    if not _Stop.training:
        _leave(number)
    alone = 'TORCHELASTIC_RUN_ID' not in os.environ  # torchrun passes on what all have had
    if number == signal.SIGINT and _Stop.asked == number and alone:
        if time.monotonic() - _Stop.at > _TWICE_S:
            raise KeyboardInterrupt
        return
    ask(number)


def _leave(number: int) -> None:
    """End the process at once: threads and imports under way have nothing to save."""
    name = signal.Signals(number).name
    text = f'Stopped by {name}; nothing new to save. Exit status {REQUEUE}: start again (--resume)'
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # a closed pipe: the status matters
            continue
    with contextlib.suppress(OSError):  # a terminal that was closed
        os.write(2, f'{text}\n'.encode())
    os._exit(REQUEUE)
