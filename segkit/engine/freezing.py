"""Parts of a network that stay as they are: ``freeze = ['backbone.*', 'decode_head.conv_seg']``.

A pattern names weights or modules, ``*`` standing for anything. What it names gets no gradient, so
no state of an optimizer, and DDP does not wait for it; a module of which everything is frozen stays
in evaluation mode, so that its batch norms keep their statistics and its dropout drops nothing.
"""

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from types import MethodType

from torch import nn

from segkit.errors import ConfigError


def freeze(model: nn.Module, patterns: str | Sequence[str]) -> str:
    """Freeze what the patterns name; returns a sentence about it.

    Raises:
        ConfigError: a pattern names nothing, or nothing is left to train.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    modules, weights = dict(model.named_modules()), dict(model.named_parameters())
    for pattern in wanted:
        named = [n for n in (*modules, *weights) if n and fnmatchcase(n, pattern)]
        if not named:
            raise ConfigError(_unknown(pattern, [n for n in (*modules, *weights) if n]))
    for name, weight in weights.items():
        if _named(name, wanted):
            weight.requires_grad_(False)
    left = sum(w.numel() for w in weights.values() if w.requires_grad)
    if not left:
        raise ConfigError(f'freeze: {wanted} leaves nothing to train; take a pattern out')
    resting = [name for name, module in modules.items() if name and _rests(name, module, wanted)]
    for name in resting:
        modules[name].__dict__['train'] = MethodType(_stay, modules[name])
        modules[name].eval()
    total = sum(w.numel() for w in weights.values())
    return f'freeze: {total - left:,} of {total:,} weights stay as they are.'


def _named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits the name, or that of a module around it."""
    parts = name.split('.')
    around = ['.'.join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(fnmatchcase(part, pattern) for part in around for pattern in patterns)


def _rests(name: str, module: nn.Module, patterns: Sequence[str]) -> bool:
    """Whether it is named itself, or holds nothing but what is."""
    held = list(module.parameters())
    return _named(name, patterns) or (bool(held) and not any(w.requires_grad for w in held))


def _stay(self: nn.Module, mode: bool = True) -> nn.Module:
    """In place of a frozen module's ``train``."""
    return nn.Module.train(self, False)


def _unknown(pattern: str, names: Sequence[str]) -> str:
    bare = pattern.rstrip('.*')
    near = difflib.get_close_matches(bare, names, n=3, cutoff=0.5)
    if not near:
        near = sorted({name.partition('.')[0] for name in names})
    return f'freeze: {pattern!r} names no weight and no module. Near it: {", ".join(near)}'
