"""timm, also where torchvision is missing or built for another torch.

timm imports names of torchvision, of which no network needs one; a wheel of torchvision that does
not match torch breaks its own import, and so timm's. Then timm is imported once more with a
stand-in: empty classes under the names it asks for, gone again when the import is over.
"""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def import_timm() -> ModuleType:
    """timm, or a sentence that says what to do.

    Raises:
        ImportError: it is not installed, or does not import even with the stand-in.
    """
    try:
        return importlib.import_module('timm')
    except (ImportError, RuntimeError) as error:  # a torchvision of another build: RuntimeError
        if getattr(error, 'name', None) == 'timm':
            raise ImportError(
                'TimmBackbone: timm is not installed: `pip install timm` (beside a torch from '
                'elsewhere than PyPI: `pip install --no-deps timm`).',
                name='timm',
            ) from error
        first = error
    _forget('timm', 'torchvision')
    try:
        with torchvision_stood_in():
            timm = importlib.import_module('timm')
    except (ImportError, RuntimeError, AttributeError) as error:
        raise ImportError(
            f'TimmBackbone: timm cannot be imported ({first}; without torchvision: {error}). '
            'Install a torchvision that matches your torch, or `pip install --upgrade timm`.',
            name='timm',
        ) from first
    logging.getLogger('segkit').info(
        'timm was imported without torchvision (%s); its networks need none.', first
    )
    return timm


def _forget(*packages: str) -> None:
    """Take what a failed import left of them out of ``sys.modules``."""
    for name in [name for name in sys.modules if name.split('.')[0] in packages]:
        del sys.modules[name]


class _Name(type):
    """Of an empty class, any attribute is its own name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith('__'):
            raise AttributeError(name)
        return name


class _Finder(MetaPathFinder, Loader):
    """Finds ``torchvision.*`` and fills it with empty classes as they are asked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        ours = name.split('.')[0] == 'torchvision'
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        def attribute(name: str) -> type:
            if name.startswith('__'):
                raise AttributeError(name)
            return _Name(name, (), {})

        vars(module)['__getattr__'] = attribute


@contextmanager
def torchvision_stood_in() -> Iterator[None]:
    """Within it ``torchvision.*`` is empty classes under any name that is asked for."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget('torchvision')
