"""Backends: other engines than PyTorch run the network, all around it stays as it is.

An engine is one function from pictures to logits on the grid of the head. It takes the place of the
backbone, and the head hands on what it is given, so resizing, sliding windows, views, certainty and
evaluation are those of PyTorch.
"""

from .settings import (
    BACKENDS,
    PRECISIONS,
    BackendError,
    Settings,
    chosen,
    is_exported,
    with_backend,
)

__all__ = [
    'BACKENDS',
    'PRECISIONS',
    'BackendError',
    'Settings',
    'chosen',
    'is_exported',
    'with_backend',
]
