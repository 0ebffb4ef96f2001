"""The engine: from a config to a trained network. ``runner.py`` is where to begin reading.

Lazy (PEP 562): ``segkit.weights`` is used where a Runner never is, and the Runner's imports cost
seconds.
"""

import importlib

from segkit.old_names import serve

_HOMES = {'Runner': 'runner', 'ConfigError': 'config_check', 'check_config': 'config_check'}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_HOMES[name]}'), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


serve(__name__)
