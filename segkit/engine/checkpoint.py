"""The former place of ``segkit.weights``, whose names code elsewhere imports from here."""

from segkit.weights import *  # noqa: F403
from segkit.weights import __all__ as __all__
