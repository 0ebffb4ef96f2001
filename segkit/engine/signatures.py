"""Which arguments a class takes, followed through ``**kwargs`` to its parents."""

import difflib
import dis
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import CodeType

_ANY_KEYWORD = inspect.Parameter.VAR_KEYWORD
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# Roots whose own ``**kwargs`` say nothing about what a subclass may be given.
_ROOTS = ('object', 'Module', 'Generic', 'Protocol', 'Dataset', 'Sampler')


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
    """Names of the keyword arguments ``target`` takes; None if it takes any.

    ``**kwargs`` is taken to go to the next constructor up the MRO. Where there is none, or none is
    called, the class does something of its own with it, which only it can judge.
    """
    names: set[str] = set()
    for constructor in constructors(target):
        parameters = inspect.signature(constructor).parameters
        names |= {name for name, p in parameters.items() if p.kind in _NAMED and name != 'self'}
        rest = [name for name, p in parameters.items() if p.kind is _ANY_KEYWORD]
        if not rest:
            return names
        code = getattr(inspect.unwrap(constructor), '__code__', None)
        if code is None or not _passes_on(code, rest[0]):
            return None
        names |= _taken_by_hand(code)
    has_constructor = any(True for _ in constructors(target))
    return None if has_constructor else set()


def _passes_on(code: CodeType, rest: str) -> bool:
    """Whether a constructor calls another and does something with its ``**rest``."""
    used = [step.argval for step in dis.get_instructions(code)]
    return '__init__' in used and any(rest == arg or rest in _pair(arg) for arg in used)


def _pair(arg: object) -> tuple:
    """Newer Pythons load two variables in one instruction."""
    return arg if isinstance(arg, tuple) else ()


def _taken_by_hand(code: CodeType) -> set[str]:
    """What a constructor may be taking out of its ``**kwargs`` before it passes them on."""
    if not {'pop', 'get', 'setdefault'} & set(code.co_names):
        return set()
    return {c for c in code.co_consts if isinstance(c, str) and c.isidentifier()}


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
