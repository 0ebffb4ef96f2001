"""mmengine works on a Python without ``pkgutil.find_loader`` (3.14) and beside a broken cache."""

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


def python(code: str, cache) -> str:
    """Standard error of a process whose caches lie in ``cache``; empty if all went well."""
    env = dict(os.environ, XDG_CACHE_HOME=str(cache))
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True)
    return done.stderr


@pytest.mark.skipif(sys.platform != 'linux', reason='the cache lies elsewhere')
@pytest.mark.parametrize('bytes_left', [0, 1000], ids=['empty', 'half written'])
def test_a_grammar_cache_that_another_process_left_unfinished_is_written_anew(tmp_path, bytes_left):
    assert not python('import yapf', tmp_path)
    caches = {path: path.read_bytes() for path in tmp_path.rglob('*.pickle')}
    assert len(caches) == 2
    for path, content in caches.items():
        path.write_bytes(content[:bytes_left])
    assert 'Error' in python('import yapf', tmp_path)  # else there is nothing to guard against
    assert not python('import segkit', tmp_path)
    assert not python('import yapf', tmp_path)
    assert all(path.read_bytes() for path in caches)
