"""Every error for what somebody asked for and cannot have.

Each message is a sentence: it names the file or setting, says what is wrong and what to do.
"""

import difflib
import pickle
from collections.abc import Iterable, Sequence

from segkit.shared_text import without_secrets


class _SentenceError(Exception):
    """Its message shows no password and no token of an address that it names."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class UserError(_SentenceError, ValueError):
    """A setting, argument or file is wrong; the message names it and what to do instead.

    The tools print an error of the package's own classes as one sentence. Any other error is one
    that nobody foresaw, a plain ``ValueError`` among them, and keeps its traceback.
    """


class ConfigError(UserError):
    """A key, type or argument of a config is wrong; the message names it and the nearest right."""


class DataError(UserError):
    """A sample's file is unreadable or contradicts what the config says about it.

    Args:
        path: the file; alone, a whole message: torch so makes the error of a worker process anew.
        problem: what is wrong with it, without a full stop.
        cure: what to do, a sentence.
    """

    def __init__(self, path: str, problem: str = '', cure: str = '') -> None:
        super().__init__(f'{path}: {problem}. {cure}' if problem else path)
        self.finding = f'{path}: {problem}' if problem else path


class EvaluationError(UserError):
    """Labels, predictions or result files that cannot be scored as they are."""


class CheckpointError(_SentenceError, RuntimeError):
    """A checkpoint cannot be read, fetched or put into this model."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file."""

    # OSError.__str__ would print the errno tuple instead of the sentence.
    __str__ = RuntimeError.__str__


class UnsafeCheckpointError(CheckpointError, pickle.UnpicklingError):
    """The file asks for something that loading weights never needs: it is refused, not run."""


class DownloadError(CheckpointError):
    """A transfer failed, or what arrived is not what the file name promises."""


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
    return f' It may be: {few(known, 30)}.'


def few(names: Sequence[object], count: int) -> str:
    """The first ``count`` of what may be many, as text."""
    return ', '.join(map(str, names[:count])) + (', ...' if len(names) > count else '')
