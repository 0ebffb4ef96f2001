"""A Python without ``pkgutil.find_loader`` (3.14) can still build an optimizer."""

import pkgutil

from mmengine.utils.dl_utils.misc import mmcv_full_available

from segkit.engine.compat import restore_find_loader


def test_find_loader_is_restored(monkeypatch):
    monkeypatch.delattr(pkgutil, 'find_loader', raising=False)
    restore_find_loader()
    assert pkgutil.find_loader('json') is not None
    assert pkgutil.find_loader('no_such_module_anywhere') is None
    assert mmcv_full_available() in (True, False)
