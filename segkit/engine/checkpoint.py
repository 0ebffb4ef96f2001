"""The former place of ``segkit.weights``, whose names code elsewhere imports from here."""

from segkit import weights
from segkit.weights import __all__ as __all__


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(weights, name)


def __dir__() -> list[str]:
    return sorted(__all__)
