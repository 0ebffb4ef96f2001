"""What only Linux or POSIX has is hidden, and segkit imports, trains, saves and predicts.

Not Windows and not macOS, which never ran: docs/never_run.md.
"""

import subprocess
import sys

from helpers import found
from helpers.doc_pages import ROOT

HIDDEN = """
import multiprocessing, os, pathlib, select, signal, sys
for name in ('resource', 'fcntl', 'pwd', 'grp', 'termios'):
    sys.modules[name] = None
for module, names in ((signal, 'sigwaitinfo sigtimedwait SIGUSR1 SIGUSR2'), (select, 'poll')):
    for name in names.split():
        delattr(module, name)
{more}
sys.path.insert(0, 'tests')
import importlib
for name in {modules!r}:
    importlib.import_module(name)
from helpers.tiny_config import tiny_config
from segkit.apis import inference_model
from segkit.engine import Runner
cfg = tiny_config({folder!r}, train_cfg__max_iters=2, train_dataloader__num_workers={workers})
cfg.param_scheduler[0]['end'] = 2
runner = Runner.from_cfg(cfg)
runner.train()
assert pathlib.Path({folder!r}, 'iter_2.pth').is_file()
print('all of it')
"""
# Windows: no fork, no mask of signals.
WINDOWS = """
for name in ('pthread_sigmask', 'sigwait'):
    delattr(signal, name)
del os.fork
multiprocessing.get_all_start_methods = lambda: ['spawn']
"""


def run(folder, more, workers):
    modules = [name for name in found.modules() if 'triton_' not in name and '__main__' not in name]
    assert len(modules) > 150
    code = HIDDEN.format(more=more, modules=modules, folder=str(folder), workers=workers)
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Traceback' not in done.stdout + done.stderr, 'of a thread or a worker'
    assert done.stdout.endswith('all of it\n')


def test_without_what_macos_lacks_it_trains_with_workers(tmp_path):
    run(tmp_path, '', workers=1)


def test_without_what_windows_lacks_it_trains(tmp_path):
    run(tmp_path, WINDOWS, workers=0)
