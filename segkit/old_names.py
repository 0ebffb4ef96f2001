"""Where a module of ours lacks a name or a submodule that mmsegmentation had, ask the table.

`serve(__name__)`, the last line of a module, does two things to that module and to nothing else:

- its ``__getattr__`` (PEP 562) looks a missing name up in `segkit.familiar`;
- its ``__path__`` gets one more entry, which only the finder below serves, so that
  ``import segkit.datasets.custom`` finds a module that is no file.

The table is imported at the first name that is missing. What was there and has no counterpart
here is an ImportError (of an attribute: an AttributeError) whose text says what to use.
"""

import importlib
import os
import sys
from importlib.abc import Loader, PathEntryFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# No folder of this name: other finders pass over it.
ENTRY = os.path.join(os.path.dirname(__file__), 'familiar', '<names>')


class _Called(ModuleType):
    """A place under the name of a function of its package's: called, it is that."""

    def __call__(self, *arguments: object, **options: object) -> object:
        package, _, name = self.__name__.rpartition('.')
        return sys.modules[package].__getattr__(name)(*arguments, **options)


class _Finder(PathEntryFinder, Loader):
    """A path entry finder (PEP 451) for modules of mmsegmentation; their own loader."""

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """None where the table knows no such module; ImportError with a sentence for one that has
        no counterpart. The names of a module are asked for like its submodules."""
        package, _, name = fullname.rpartition('.')
        table = importlib.import_module('segkit.familiar')
        if table.is_place(fullname):
            return ModuleSpec(fullname, self, is_package=True)
        sentence = table.instead(package, name)
        if sentence:
            raise ImportError(sentence, name=fullname)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The usual module, unless the name is that of a function of ours as well."""
        package, _, name = spec.name.rpartition('.')
        return _Called(spec.name) if name in getattr(sys.modules[package], '_HOMES', ()) else None

    def exec_module(self, module: ModuleType) -> None:
        """A place has no code: all its names are looked up."""
        module.__path__ = []
        serve(module.__name__)


def serve(module: str) -> None:
    """Look names and submodules that ``module`` lacks up in the table; see above."""
    sys.path_importer_cache.setdefault(ENTRY, _Finder())
    names = vars(sys.modules[module])
    names['__path__'] = [*names.get('__path__', ()), ENTRY]
    own = names.get('__getattr__')

    def find(name: str) -> object:
        if own is None:
            return _look_up(module, name)
        try:
            return own(name)
        except AttributeError:
            return _look_up(module, name)

    names['__getattr__'] = find


def _look_up(module: str, name: str) -> object:
    is_file = '__file__' in vars(sys.modules[module])
    if name == '__all__' and not is_file:  # of a star import
        return importlib.import_module('segkit.familiar').names_of(module)
    if is_file and (name.startswith('__') or _is_submodule(module, name)):
        raise AttributeError(f'module {module!r} has no attribute {name!r}')
    return importlib.import_module('segkit.familiar').find(module, name)


def _is_submodule(module: str, name: str) -> bool:
    """Whether Python asks for a name that is a file of ours, which it is about to import."""
    path = os.path.join(vars(sys.modules[module])['__path__'][0], name)
    return os.path.isfile(f'{path}.py') or os.path.isdir(path)


def older_call(name: str) -> Any:
    """A function or, in the body of a class, a method of mmsegmentation 0.x (older_calls.py)."""

    def call(*args: object, **kwargs: object) -> object:
        calls = importlib.import_module('segkit.familiar.older_calls')
        return getattr(calls, name)(*args, **kwargs)

    return call


def older_type(name: object, registry: str) -> type | None:
    """The class that serves a ``type`` of older configs, for one of our registries.

    Raises:
        KeyError: nothing serves it; says what to use.
    """
    if not isinstance(name, str):
        return None
    bare = name.removeprefix('segkit.').removeprefix('mmseg.')
    return importlib.import_module('segkit.familiar').find_type(bare, registry)
