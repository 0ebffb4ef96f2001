"""Proof of a conversion: the same parameters when built, the same values as a shipped config."""

from collections.abc import Iterator, Mapping

import torch

_FREE = {'pretrained', 'init_cfg'}  # where weights come from is no part of a network's shape


def same_parameters(first: Mapping[str, object], second: Mapping[str, object]) -> list[str]:
    """Builds two ``model`` configs without memory; the state-dict entries that differ, as lines."""
    a, b = _shapes(first), _shapes(second)
    return [
        f'{key}: {a.get(key, "missing")} | {b.get(key, "missing")}'
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]


def _shapes(model: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    from segkit.registry import MODELS

    with torch.device('meta'):
        network = MODELS.build({k: v for k, v in model.items() if k not in _FREE})
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def differences(first: object, second: object, path: str = '') -> Iterator[str]:
    """Lines `key.path: a | b` wherever two configs differ; lists and tuples count as equal."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in sorted(first.keys() | second.keys()):
            inner = f'{path}.{key}' if path else str(key)
            yield from differences(first.get(key), second.get(key), inner)
    elif isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        if len(first) != len(second):
            yield f'{path}: {len(first)} | {len(second)} items'
        for i, pair in enumerate(zip(first, second)):
            yield from differences(*pair, f'{path}.{i}')
    elif first != second:
        yield f'{path}: {first} | {second}'
