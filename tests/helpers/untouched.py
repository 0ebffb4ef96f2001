"""Whether a call wrote into what it was given: values before and after, however deep they lie."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import nn


def values_of(thing: object, path: str = '') -> Iterator[tuple[str, object]]:
    """(path, value) of every leaf: arrays as they are, not copied."""
    if isinstance(thing, Mapping):
        parts = list(thing.items())
    elif isinstance(thing, list | tuple):
        parts = list(enumerate(thing))
    elif isinstance(thing, BaseDataElement):
        parts = [*thing.items(), *thing.metainfo_items()]
    elif isinstance(thing, nn.Module):
        parts = [*thing.named_parameters(), *thing.named_buffers()]
    else:
        yield path, thing
        return
    yield path, (type(thing), [name for name, _ in parts])
    for name, part in parts:
        yield from values_of(part, f'{path}.{name}')


def _copied(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value.copy() if isinstance(value, np.ndarray) else copy.copy(value)


def _same(now: object, before: object) -> bool:
    if isinstance(before, torch.Tensor):
        return (
            now.shape == before.shape
            and now.dtype == before.dtype
            and torch.equal(now.detach(), before)
        )
    if isinstance(before, np.ndarray):
        return now.dtype == before.dtype and np.array_equal(now, before, equal_nan=True)
    return now == before


@contextmanager
def untouched(**things: object) -> Iterator[None]:
    """Fail if anything in ``things`` has another value at the end of the block."""
    before = [(path, _copied(value)) for path, value in values_of(things)]
    assert len(before) > len(things)
    yield
    now = list(values_of(things))
    assert [path for path, _ in now] == [path for path, _ in before]
    wrong = [path for (path, new), (_, old) in zip(now, before) if not _same(new, old)]
    assert not wrong, f'written into: {", ".join(wrong)}'
