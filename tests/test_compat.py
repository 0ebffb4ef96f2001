"""mmengine works without ``pkgutil.find_loader`` (Python 3.14) and beside a broken cache."""

import os
import pkgutil
import subprocess
import sys

import pytest
from mmengine.utils.dl_utils.misc import mmcv_full_available

from segkit.compat import restore_find_loader


def test_find_loader_is_restored(monkeypatch):
    monkeypatch.delattr(pkgutil, 'find_loader', raising=False)
    restore_find_loader()
    assert pkgutil.find_loader('json') is not None
    assert pkgutil.find_loader('no_such_module_anywhere') is None
    assert mmcv_full_available() in (True, False)


def python(code: str, **env: str) -> str:
    """Standard error of a process; empty if all went well."""
    command = [sys.executable, '-c', code]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True).stderr


@pytest.mark.skipif(sys.platform != 'linux', reason='the cache lies elsewhere')
@pytest.mark.parametrize('bytes_left', [0, 1000], ids=['empty', 'half written'])
def test_a_grammar_cache_that_another_process_left_unfinished_is_written_anew(tmp_path, bytes_left):
    cache = {'XDG_CACHE_HOME': str(tmp_path)}
    assert not python('import yapf', **cache)
    caches = {path: path.read_bytes() for path in tmp_path.rglob('*.pickle')}
    assert len(caches) == 2
    for path, content in caches.items():
        path.write_bytes(content[:bytes_left])
    assert 'Error' in python('import yapf', **cache)  # else there is nothing to guard against
    assert not python('import segkit', **cache)
    assert not python('import yapf', **cache)
    assert all(path.read_bytes() for path in caches)


REFUSE_TO_COMPILE = """
import torch

def refuse(*args):
    raise SystemExit('compiled')

torch._C._jit_script_class_compile = refuse
"""


def test_torch_s_distributed_optimizers_are_not_compiled_at_the_start_of_a_script():
    ours = 'from segkit.compat import import_distributed_optim; import_distributed_optim()'
    assert 'compiled' in python(REFUSE_TO_COMPILE + 'import torch.distributed.optim')
    assert not python(REFUSE_TO_COMPILE + ours + '\nimport mmengine.optim')
    assert not python(ours + '\nimport torch; assert torch.jit._state._enabled.enabled')
