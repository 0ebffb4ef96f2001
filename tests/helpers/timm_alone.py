"""timm without torchvision: timm imports names of it that feature extraction never calls."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


class _AnyAttribute(type):
    def __getattr__(cls, name: str) -> str:
        if name.startswith('__'):
            raise AttributeError(name)
        return name


class _StandIn:
    """Finds `torchvision.*` and fills it with empty classes as they are asked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        is_ours = name.split('.')[0] == 'torchvision'
        return ModuleSpec(name, self, is_package=True) if is_ours else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def attribute(name: str) -> type:
            if name.startswith('__'):
                raise AttributeError(name)
            return _AnyAttribute(name, (), {})

        module.__getattr__ = attribute


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    finder = _StandIn()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]


def require_timm() -> ModuleType:
    """timm as installed; with a stand-in while it is imported if torchvision is not usable."""
    try:
        import timm
    except (ImportError, RuntimeError):
        for name in [n for n in sys.modules if n.split('.')[0] in ('timm', 'torchvision')]:
            del sys.modules[name]
        with _torchvision_stand_in():
            timm = pytest.importorskip('timm')
    return timm
