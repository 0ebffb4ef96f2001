"""Steps of a prediction that hand on logits as small as the head gave them.

A step is a public method that people override: of the segmentor (``encode_decode``, ...) or of the
head (``predict``, ...). Called from outside it returns tensors at the size of the input. Called by
the step before it, through `next_step`, it hands on what is `Deferred`: logits that are resized
later, class by class. A step that a subclass or an instance replaced is given tensors alone, and
what it returns goes on as it is.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

P = ParamSpec('P')
R = TypeVar('R')
_BODIES: dict[Callable, Callable] = {}


class Deferred(ABC):
    """What stands for a tensor between two steps that nobody replaced."""

    @abstractmethod
    def written_out(self) -> Tensor:
        """The tensor (N, K, H, W) it stands for."""


def step(method: Callable[P, R]) -> Callable[P, R]:
    """Mark a method that takes or returns what is `Deferred` between steps."""

    @functools.wraps(method)
    def public(*args: P.args, **kwargs: P.kwargs) -> Any:
        return _written_out(method(*args, **kwargs))

    _BODIES[public] = method
    return public


def next_step(method: Callable, *args: Any) -> Any:
    """``method(*args)`` for a bound method; without the detour over tensors where it is a step."""
    if isinstance(method, MethodType) and method.__func__ in _BODIES:
        return _BODIES[method.__func__](method.__self__, *args)
    return method(*map(_written_out, args))


def _written_out(value: Any) -> Any:
    return value.written_out() if isinstance(value, Deferred) else value
