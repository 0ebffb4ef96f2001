"""What the value of a setting may be: its type from the signature that takes it, its range by name.

A name means the same wherever it stands (``config_schema.py``), so that one table of ranges serves
all parts. What a hint does not say for certain is let through: a legal config must never fail.
"""

import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from segkit.engine.signatures import constructors

_PLAIN = (str, bytes, int, float, bool, list, tuple)


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``; one that is ``open`` is none of them itself."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False
    whole: bool = False
    apart: tuple[float, ...] = ()

    def holds(self, value: float) -> bool:
        if value in self.apart:
            return True
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and (not self.whole or float(value).is_integer())

    def __str__(self) -> str:
        kind = 'a whole number' if self.whole else 'a finite number'
        low, high = f'{self.low:g}', f'{self.high:g}'
        if abs(self.low) < _HUGE and self.high < _HUGE:
            kind += f' from {low} to {high}'
            kind += f', but not {low}' * self.low_open + f', but not {high}' * self.high_open
        elif abs(self.low) < _HUGE:
            kind += f' above {low}' if self.low_open else f', {low} or more'
        return kind + ''.join(f', or {x:g}' for x in self.apart)


_HUGE = 1e12  # more of anything than there is
_COUNT = Range(1, _HUGE, whole=True)
_FEW = Range(1, 2**16, whole=True)  # channels, pixels of a side, images of a batch
_ORDINAL = Range(0, _HUGE, whole=True)
_SHARE = Range(0, 1)
_POSITIVE = Range(0, _HUGE, low_open=True)
_NOT_NEGATIVE = Range(0, _HUGE)
_FINITE = Range(-_HUGE, _HUGE)
_BYTE = Range(0, 255, whole=True)

# Argument -> numbers that it, and each item of it where it is a list, may be.
RANGES: dict[str, Range] = {
    # networks
    'in_channels': _FEW, 'channels': _FEW, 'num_classes': _FEW, 'out_channels': _FEW,
    'stem_channels': _FEW, 'base_channels': _FEW, 'pam_channels': _FEW,
    'isa_channels': _FEW, 'num_convs': Range(0, 1024, whole=True), 'kernel_size': _FEW,
    'dilation': _FEW,
    'strides': _FEW, 'dilations': _FEW, 'num_stages': Range(1, 4, whole=True),
    'pool_scales': _FEW, 'mask_size': _FEW, 'shrink_factor': _FEW, 'down_factor': _FEW,
    'normalization_factor': _POSITIVE, 'dropout_ratio': Range(0, 1, high_open=True),
    'in_index': Range(-64, 64, whole=True), 'out_indices': Range(-64, 64, whole=True),
    'frozen_stages': Range(-1, 4, whole=True), 'multi_grid': _FEW,
    'loss_weight': _NOT_NEGATIVE, 'class_weight': _NOT_NEGATIVE, 'thresh': _SHARE,
    'min_kept': _ORDINAL, 'ignore_index': Range(-_HUGE, _HUGE, whole=True),
    # pictures
    'std': _POSITIVE, 'mean': _FINITE, 'pad_val': _FINITE, 'seg_pad_val': _BYTE,
    'size_divisor': _FEW, 'size': _FEW, 'crop_size': _FEW, 'stride': _FEW,
    'scale': Range(0, 2**16, low_open=True, apart=(math.inf,)),
    'ratio_range': Range(0, 100, low_open=True), 'img_ratios': Range(0, 100, low_open=True),
    'cat_max_ratio': Range(0, 1, low_open=True), 'prob': _SHARE, 'degree': _FINITE,
    'brightness_delta': _NOT_NEGATIVE, 'hue_delta': _NOT_NEGATIVE,
    'contrast_range': _NOT_NEGATIVE, 'saturation_range': _NOT_NEGATIVE, 'alpha': _SHARE,
    # data
    'batch_size': _FEW, 'num_workers': Range(0, 1024, whole=True), 'prefetch_factor': _FEW,
    'num_images': Range(1, 10**8, whole=True), 'times': _COUNT, 'max_refetch': _ORDINAL,
    'oversample_thr': Range(0, 1, low_open=True), 'base_batch_size': _COUNT,
    # optimisation
    'lr': _NOT_NEGATIVE, 'momentum': Range(0, 1), 'weight_decay': _NOT_NEGATIVE,
    'dampening': Range(0, 1), 'eps': _POSITIVE, 'betas': Range(0, 1, high_open=True),
    'max_norm': Range(0, math.inf, low_open=True), 'accumulative_counts': _FEW,
    'accumulate': _COUNT, 'eta_min': Range(0, 100), 'eta_min_ratio': _SHARE,
    'power': _POSITIVE, 'begin': _ORDINAL, 'end': _COUNT, 'gamma': _POSITIVE,
    'milestones': _ORDINAL, 'T_max': _COUNT, 'step_size': _COUNT,
    'start_factor': Range(0, 1, low_open=True), 'end_factor': _SHARE,
    'lr_mult': _NOT_NEGATIVE, 'decay_mult': _NOT_NEGATIVE,
    # the run
    'max_iters': _COUNT, 'max_epochs': _COUNT, 'val_interval': _COUNT, 'val_begin': _ORDINAL,
    'interval': Range(1, _HUGE, whole=True, apart=(-1,)),
    'max_keep_ckpts': Range(-1, _HUGE, whole=True),
    'save_begin': _ORDINAL, 'seed': Range(0, 2**32 - 1, whole=True), 'batches': _ORDINAL,
    'opencv_num_threads': Range(0, 1024, whole=True), 'window_size': _COUNT, 'patience': _ORDINAL,
    'min_delta': _NOT_NEGATIVE, 'bootstrap': _ORDINAL, 'beta': _POSITIVE, 'keep': _ORDINAL,
    'nan_to_num': _SHARE, 'wait_time': _NOT_NEGATIVE, 'batch_windows': _COUNT,
    'memory_budget': _POSITIVE,
}  # fmt: skip

CHOICES: dict[str, tuple[str, ...]] = {
    'style': ('pytorch', 'caffe'),
    'psa_type': ('collect', 'distribute', 'bi-direction'),
    'mp_start_method': ('fork', 'spawn', 'forkserver'),
    'log_level': ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'NOTSET'),
    'rule': ('greater', 'less'),
    'color_type': (
        'color', 'grayscale', 'unchanged', 'color_ignore_orientation',
        'grayscale_ignore_orientation',
    ),
    'iou_metrics': ('mIoU', 'mDice', 'mFscore'),
}  # fmt: skip
# Argument -> what it is, where no signature says so.
KINDS: dict[str, object] = {
    'work_dir': str | None, 'default_scope': str | None, 'load_from': str | None,
    'experiment_name': str | None, 'launcher': str, 'log_level': str | int,
    'opencv_num_threads': int, 'mp_start_method': str, 'cudnn_benchmark': bool,
    'seed': int | None, 'deterministic': bool, 'diff_rank_seed': bool, 'enable': bool,
    'base_batch_size': int, 'batch_size': int, 'in_index': int | Sequence[int],
    'in_channels': int | Sequence[int], 'requires_grad': bool, 'find_unused_parameters': bool,
    'img_ratios': Sequence[float], 'ratio_range': Sequence[float], 'lr': float,
    'weight_decay': float, 'keep_ratio': bool, 'shuffle': bool, 'test_mode': bool,
    'prob': float | Sequence[float] | None,
    'scale': int | float | Sequence[int] | Sequence[Sequence[int]] | Sequence[float] | None,
    'max_norm': float, 'norm_type': float, 'mode': str,
}  # fmt: skip
# Pairs of numbers of which the first is the least.
ORDERED = frozenset(['ratio_range', 'contrast_range', 'saturation_range'])


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Real) and not isinstance(value, bool):
        yield float(value)


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        yield from (item for item in value if isinstance(item, str))


def wrong_value(name: str, value: object) -> str | None:
    """What a value must be that it is not, by the name of its setting; None if nothing is wrong."""
    if name in KINDS and not fits(value, KINDS[name]):
        return f'must be {spelled(KINDS[name])}'
    listed = isinstance(value, (list, tuple))
    if (name in RANGES or name in CHOICES) and listed and not value:
        return 'must not be empty'
    numbers = list(_numbers(value))
    if any(map(math.isnan, numbers)):
        return 'must be a number'
    rule = RANGES.get(name)
    if rule is not None and not all(map(rule.holds, numbers)):
        return f'must be {rule}'
    if name in CHOICES and not set(_words(value)) <= set(CHOICES[name]):
        return f'must be of {", ".join(CHOICES[name])}'
    if name in ORDERED and len(numbers) == 2 and numbers[0] > numbers[1]:
        return 'must have the smaller number first'
    return None


# -- types -----------------------------------------------------------------------------------------


def hint_of(target: Callable, name: str) -> tuple[object, object]:
    """(hint, default) of an argument, by the first constructor up the MRO that names it."""
    for constructor in constructors(target):
        parameter = inspect.signature(constructor).parameters.get(name)
        if parameter is None:
            continue
        hint = parameter.annotation
        if isinstance(hint, str):
            hint = _evaluated(hint, constructor)
        return (Any if hint is inspect.Parameter.empty else hint), parameter.default
    return Any, inspect.Parameter.empty


def _evaluated(hint: str, constructor: Callable) -> object:
    """A hint that is kept as text; Any where its names are not there at run time."""
    try:
        return eval(hint, getattr(inspect.unwrap(constructor), '__globals__', {}))
    except Exception:  # of whatever a hint may name
        return Any


def wrong_kind(target: Callable, name: str, value: object) -> str | None:
    """What an argument must be that ``value`` is not, by the hint of ``target``; None if it fits.

    None as a value fits where it is the default, or no default says otherwise.
    """
    if name == 'type':
        return None
    hint, default = hint_of(target, name)
    if value is None and default is None:
        return None
    return None if fits(value, hint) else f'must be {spelled(hint)}'


def spelled(hint: object) -> str:
    """A hint in words."""
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    names = [_NAMES.get(typing.get_origin(x) or x) or _bare(x) for x in options]
    return ' or '.join(dict.fromkeys(names))


_NAMES: dict[object, str] = {
    int: 'a whole number', float: 'a number', bool: 'True or False', str: 'text',
    type(None): 'None', dict: 'a dict', Mapping: 'a dict', list: 'a list', tuple: 'a tuple',
    Sequence: 'a list', Iterable: 'a list',
}  # fmt: skip


def _bare(hint: object) -> str:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return ' or '.join(map(repr, args))
    return getattr(hint, '__name__', str(hint))


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def fits(value: object, hint: object) -> bool:
    """Whether a value of a config can be meant where ``hint`` is asked for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if _is_union(hint):
        return any(fits(value, option) for option in args)
    if origin is typing.Literal:
        return value in args
    if hint is None or hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, Real) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, (str, Path))
    kind = origin or hint
    if not inspect.isclass(kind):
        return True
    if issubclass(kind, Mapping):
        return not isinstance(value, _PLAIN) and value is not None
    if issubclass(kind, (list, tuple, Sequence, AbstractSet)) or kind in (Iterable, Sized):
        return _fits_items(value, kind, args)
    return True


def _fits_items(value: object, kind: type, args: tuple) -> bool:
    if isinstance(value, str):
        return str in args
    if not isinstance(value, (list, tuple, set, frozenset)):
        return (
            not isinstance(value, _PLAIN) and value is not None and not isinstance(value, Mapping)
        )
    if not args:
        return True
    if kind is tuple and args[-1] is not Ellipsis:
        return len(value) == len(args) and all(map(fits, value, args))
    return all(fits(item, args[0]) for item in value)
