"""Which arguments a class takes, followed through ``**kwargs`` to its parents."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator

_ANY_KEYWORD = inspect.Parameter.VAR_KEYWORD
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Roots whose own ``**kwargs`` say nothing about what a subclass may be given.
_ROOTS = ('object', 'Module', 'Generic', 'Protocol', 'Dataset', 'Sampler')
# Packages whose constructors hand their ``**kwargs`` to the next one up the MRO, if there is one.
_KNOWN = ('segkit', 'mmengine', 'mmcv', 'torch')


def constructors(target: Callable) -> Iterator[Callable]:
    """The callables that see the arguments: a function, or each ``__init__`` up the MRO."""
    if not inspect.isclass(target):
        yield target
        return
    for cls in target.__mro__:
        if cls.__name__ in _ROOTS:
            return
        if '__init__' in vars(cls):
            yield vars(cls)['__init__']


def accepted_arguments(target: Callable) -> set[str] | None:
    """Names of the keyword arguments ``target`` takes; None if it may take any.

    ``**kwargs`` is taken to go to the next constructor up the MRO. Where there is none, or the
    class is somebody's whose habits are not known, only it can judge what it is given.
    """
    names: set[str] = set()
    for constructor in constructors(target):
        parameters = inspect.signature(constructor).parameters.values()
        names |= {p.name for p in parameters if p.kind in _NAMED and p.name != 'self'}
        if not any(p.kind is _ANY_KEYWORD for p in parameters):
            return names
        if constructor.__module__.partition('.')[0] not in _KNOWN:
            return None
    has_constructor = any(True for _ in constructors(target))
    return None if has_constructor else set()


def nearest(name: str, known: Iterable[str], count: int = 3, cutoff: float = 0.6) -> list[str]:
    """The ``count`` names most like ``name``, ignoring case."""
    by_lower = {str(k).lower(): str(k) for k in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=cutoff)
    return [by_lower[c] for c in close]


def suggestion(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' or, when nothing is near, what there is to choose from."""
    known = sorted(set(known))
    close = nearest(name, known)
    if close:
        return f' Did you mean {" or ".join(repr(c) for c in close)}?'
    if not known:
        return ''
    shown = ', '.join(known[:30]) + (', ...' if len(known) > 30 else '')
    return f' It may be: {shown}.'
