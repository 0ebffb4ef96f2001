"""What belongs to the whole process, and which of it some code has changed.

    changes_of({'import': ('', 'import segkit'), ...}) -> {'import': {'warnings filters': [a, b]}}

One process imports the libraries whose settings are looked at, then forks for every case: a child
runs the case's preparation, notes everything, runs its code and notes everything again. So a case
starts from a process in which nobody has imported segkit, mmengine or mmcv.
"""

import contextlib
import faulthandler
import gc
import hashlib
import json
import locale
import logging
import multiprocessing
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
THREADS = 3  # a number that nobody sets by accident


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def _python() -> dict[str, object]:
    root = logging.getLogger()
    mask = os.umask(0)
    os.umask(mask)
    return {
        'python random state': _digest(random.getstate()),
        'warnings filters': [repr(entry) for entry in warnings.filters],
        'warnings.showwarning': repr(warnings.showwarning),
        'root logger handlers': [repr(handler) for handler in root.handlers],
        'root logger level': root.level,
        'logging.disable': root.manager.disable,
        'logger class': repr(logging.getLoggerClass()),
        'signals': {s.name: repr(signal.getsignal(s)) for s in sorted(signal.valid_signals())
                    if isinstance(s, signal.Signals)},
        'sys.path': list(sys.path),
        'sys.meta_path': [repr(finder) for finder in sys.meta_path],
        'sys.argv': list(sys.argv),
        'sys hooks': [repr(hook) for hook in (sys.excepthook, sys.displayhook,
                                              sys.unraisablehook, threading.excepthook)],
        'sys streams': [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        'recursion limit': sys.getrecursionlimit(),
        'tracing': [repr(sys.gettrace()), repr(sys.getprofile())],
        **{f'environment {name}': value for name, value in os.environ.items()},
        'working directory': os.getcwd(),
        'umask': mask,
        'open files limit': resource.getrlimit(resource.RLIMIT_NOFILE),
        'garbage collector': [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        'collector callbacks': [repr(call) for call in gc.callbacks],
        'running threads': threading.active_count(),
        'start method': multiprocessing.get_start_method(allow_none=True),
        'socket timeout': socket.getdefaulttimeout(),
        'locale': locale.setlocale(locale.LC_ALL),
        'faulthandler': faulthandler.is_enabled(),
        'temporary folder': tempfile.gettempdir(),
        'builtins': sorted(dir(__builtins__)),
    }  # fmt: skip


def _torch() -> dict[str, object]:
    import torch

    return {
        'torch threads': [torch.get_num_threads(), torch.get_num_interop_threads()],
        'torch random state': _digest(torch.get_rng_state().tolist()),
        'torch seed': torch.initial_seed(),
        'torch dtype and device': [str(torch.get_default_dtype()), str(torch.get_default_device())],
        'torch gradients': [torch.is_grad_enabled(), torch.is_anomaly_enabled()],
        'torch deterministic': [torch.are_deterministic_algorithms_enabled(),
                                torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark],
        'torch precision': [torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32],
        'torch backends': [torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled],
        'torch.jit': [torch.jit._state._enabled.enabled, repr(torch.jit.script)],
        'torch printing': repr(vars(torch._tensor_str.PRINT_OPTS)),
        'torch sharing strategy': torch.multiprocessing.get_sharing_strategy(),
        'torch.load and torch.save': [repr(torch.load), repr(torch.save)],
    }  # fmt: skip


def _others() -> dict[str, object]:
    import cv2
    import matplotlib
    import numpy as np
    from PIL import Image, ImageFile

    settings = {k: repr(dict.__getitem__(matplotlib.rcParams, k)) for k in matplotlib.rcParams}
    return {
        'numpy random state': _digest(np.random.get_state()),
        'numpy errors': repr(np.geterr()),
        'numpy printing': repr(np.get_printoptions()),
        'cv2 threads': cv2.getNumThreads(),
        'cv2 switches': [cv2.useOptimized(), cv2.ocl.useOpenCL()],
        'cv2 logging': cv2.utils.logging.getLogLevel(),
        'matplotlib backend': settings.pop('backend'),
        'matplotlib settings': _digest(sorted(settings.items())),
        'pillow': [repr(Image.MAX_IMAGE_PIXELS), ImageFile.LOAD_TRUNCATED_IMAGES],
    }


def noted() -> dict[str, object]:
    """Everything, as JSON would give it back."""
    everything = {**_python(), **_torch(), **_others()}
    return json.loads(json.dumps(everything, default=repr))


def _in_child(prepare: str, code: str) -> dict[str, list]:
    names: dict[str, object] = {}
    exec(prepare, names)
    before = noted()
    exec(code, names)
    after = noted()
    pairs = {key: (before.get(key), after.get(key)) for key in {**before, **after}}
    return {key: _apart(one, other) for key, (one, other) in pairs.items() if one != other}


def _apart(before: Any, after: Any) -> list:
    """Before and after, of dicts and lists what is on one side alone."""
    if isinstance(before, dict):
        pairs = [(before, after), (after, before)]
        return [{k: v for k, v in one.items() if other.get(k) != v} for one, other in pairs]
    if (
        isinstance(before, list)
        and isinstance(after, list)
        and set(map(str, before)) != set(map(str, after))
    ):
        return [[v for v in before if v not in after], [v for v in after if v not in before]]
    return [before, after]


def _forked(work: Callable[[], dict]) -> dict:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                answer = work()
        except BaseException:
            answer = {'error': traceback.format_exc()}
        with os.fdopen(writing, 'w') as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer or '{"error": "the process died"}')


def _serve() -> None:
    """Read cases as JSON, answer what each changed."""
    import cv2  # noqa: F401
    import torch

    torch.set_num_threads(THREADS)
    cases = json.load(sys.stdin)
    noted()  # what a first look loads and sets is not the case's doing
    gc.collect()
    answer = {name: _forked(lambda pair=pair: _in_child(*pair)) for name, pair in cases.items()}
    print(json.dumps(answer))


def changes_of(cases: dict[str, tuple[str, str]]) -> dict[str, dict[str, list]]:
    """Of each case (preparation, code): what changed, with its value before and after.

    A case that fails has its traceback under 'error'.
    """
    folders = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    environment = {k: v for k, v in os.environ.items() if k not in ('PYTHONPATH',)}
    environment.update(PYTHONPATH=folders)
    for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS'):
        environment.pop(name, None)  # set by tests/conftest.py; mmengine looks whether they are
    done = subprocess.run(
        [sys.executable, '-m', 'helpers.surroundings'],
        input=json.dumps(cases), cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__':
    _serve()
