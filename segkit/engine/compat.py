"""Stand-ins for what newer Pythons have removed and mmengine still calls."""

import importlib.util
import pkgutil


def restore_find_loader() -> None:
    """``pkgutil.find_loader`` left in Python 3.14; mmengine asks it whether mmcv has its ops.

    That question comes up whenever an optimizer is built and any mmcv can be imported.
    """
    if not hasattr(pkgutil, 'find_loader'):
        # Another answer than it gave, but mmengine asks only whether it is None.
        pkgutil.find_loader = importlib.util.find_spec  # type: ignore[assignment]
