"""Names that a pickled file may mention, each bound to a stand-in that only holds data.

``torch.load(weights_only=True)`` knows tensors and plain containers. Training checkpoints of the
older toolboxes also hold numpy scalars and arrays and mmengine's ``HistoryBuffer``; predictions and
class weights are pickles of arrays (``read_arrays``). The real objects are not safe to hand to a
file: ``getattr`` walks from a method to ``__globals__``, and
``numpy.dtype.__setstate__`` lets a file set the flag bits of float64 to "holds references", which
numpy then follows as pointers. So the file gets stand-ins that check what they are given, and
``settle`` replaces them by the real, finished objects afterwards.
"""

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO, NoReturn

import numpy as np
import torch

_PLAIN_DTYPE = re.compile(r'(\?|[fiubcSU]\d+)')
_DICTS = (  # of Lightning's settings, by release
    'lightning_fabric.utilities.data.AttributeDict',
    'lightning.fabric.utilities.data.AttributeDict',
    'pytorch_lightning.utilities.parsing.AttributeDict',
)
_PATHS = [
    f'{module}.{name}'
    for module in ('pathlib', 'pathlib._local')  # the second since Python 3.13
    for name in ('PosixPath', 'WindowsPath', 'PurePosixPath', 'PureWindowsPath')
]
_STATISTICS = ('min', 'max', 'current', 'mean')


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


class DtypeStandIn:
    """``numpy.dtype('f8', False, True)`` and the byte order that follows it."""

    def __init__(self, spec: str, align: bool = False, copy: bool = True) -> None:
        if not isinstance(spec, str) or not _PLAIN_DTYPE.fullmatch(spec):
            _refuse(f'a numpy array of dtype {spec!r}, which may hold objects instead of numbers')
        self.value = np.dtype(spec)

    def __setstate__(self, state: tuple) -> None:
        order, fields = state[1], state[2:5]
        if order not in ('<', '>', '|', '=') or any(field is not None for field in fields):
            _refuse('a numpy dtype with fields, which no checkpoint of numbers has')
        self.value = self.value.newbyteorder(order)


class ArrayStandIn:
    """``numpy.ndarray`` as its pickle builds it: empty first, then shape, dtype and bytes."""

    value: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if type(dtype) is not DtypeStandIn or not isinstance(data, bytes):
            _refuse('a numpy array that holds objects instead of numbers')
        count = int(np.prod(shape, dtype=object)) * dtype.value.itemsize
        if count != len(data):
            _refuse(f'a numpy array whose {len(data)} bytes do not fill its shape {tuple(shape)}')
        self.value = np.ndarray(
            shape, dtype.value, buffer=bytearray(data), order='F' if fortran else 'C'
        )


class NamespaceStandIn(dict):
    """The settings that a trainer's ``argparse`` left."""

    def __setstate__(self, state: dict) -> None:
        self.update(state)


def _path(*parts: str) -> str:
    """A ``pathlib`` path as text."""
    return '/'.join(map(str, parts))


class HistoryStandIn:
    """mmengine's ``HistoryBuffer``: two arrays and a length; its pickled methods are dropped."""

    def __setstate__(self, state: dict) -> None:
        self.log, self.count = state['_log_history'], state['_count_history']
        self.max_length = int(state['max_length'])


def _reconstruct(subtype: object, shape: tuple, typecode: bytes) -> ArrayStandIn:
    if subtype is not ArrayStandIn or tuple(shape) != (0,):
        _refuse('a numpy array built in an unusual way')
    return ArrayStandIn()


def _scalar(dtype: DtypeStandIn, data: bytes = b'') -> np.generic:
    if type(dtype) is not DtypeStandIn or not isinstance(data, bytes):
        _refuse('a numpy scalar that holds an object instead of a number')
    return np.frombuffer(data, dtype.value, count=1)[0]


def _frombuffer(data: object, dtype: DtypeStandIn, shape: tuple, order: str) -> np.ndarray:
    """An array as protocol 5 writes it."""
    if type(dtype) is not DtypeStandIn or not isinstance(data, bytes | bytearray):
        _refuse('a numpy array that holds objects instead of numbers')
    if order not in ('C', 'F'):
        _refuse(f'a numpy array in the order {order!r}')
    return np.frombuffer(bytearray(data), dtype.value).reshape(
        shape, order='F' if order == 'F' else 'C'
    )


def _getattr(owner: object, name: str) -> str:
    """HistoryBuffer pickles four of its own methods through ``getattr``: nothing else passes."""
    if owner is not HistoryStandIn or name not in _STATISTICS:
        _refuse(f'builtins.getattr to reach {name!r}, which can lead to running code')
    return name


# numpy moved ``numpy.core`` to ``numpy._core`` in 2.0, and files of both times are around. dtype
# instances are pickled as ``numpy.dtype`` calls, so no dtype class needs a name here.
_CORES = ('numpy.core', 'numpy._core')
_OF_TRAINING: dict[str, Callable] = {
    'numpy.dtype': DtypeStandIn,
    'numpy.ndarray': ArrayStandIn,
    **{f'{core}.multiarray._reconstruct': _reconstruct for core in _CORES},
    **{f'{core}.multiarray.scalar': _scalar for core in _CORES},
    'argparse.Namespace': NamespaceStandIn,
    'mmengine.logging.history_buffer.HistoryBuffer': HistoryStandIn,
    **dict.fromkeys(('builtins.getattr', '__builtin__.getattr'), _getattr),
    **dict.fromkeys(_DICTS, OrderedDict),
    **dict.fromkeys(_PATHS, _path),
}
# What an array consists of, for ``read_arrays``.
_OF_ARRAYS: dict[str, Callable] = {
    **{name: part for name, part in _OF_TRAINING.items() if name.startswith('numpy')},
    **{f'{core}.numeric._frombuffer': _frombuffer for core in _CORES},
}


def allowed_globals() -> list[Callable | tuple[Callable, str]]:
    """Pairs (stand-in, dotted name) for ``torch.serialization.safe_globals``."""
    return [(stand_in, name) for name, stand_in in _OF_TRAINING.items()]


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if f'{module}.{name}' not in _OF_ARRAYS:
            _refuse(f'it asks to run {module}.{name}')
        return _OF_ARRAYS[f'{module}.{name}']


def read_arrays(file: BinaryIO) -> object:
    """The plain containers, numbers and numpy arrays of a pickle; nothing it names is run.

    Raises:
        ValueError: it is damaged, or holds anything else; the message says what.
    """
    try:
        return settle(_ArrayUnpickler(file).load())
    except Exception as error:  # a damaged pickle may raise nearly all of them
        raise ValueError(str(error).partition('\n')[0] or 'the file ends too early') from error


def _history(stand_in: HistoryStandIn) -> object:
    from mmengine.logging import HistoryBuffer  # only files of a Runner need it

    buffer = HistoryBuffer(max_length=stand_in.max_length)
    buffer._log_history = settle(stand_in.log)
    buffer._count_history = settle(stand_in.count)
    return buffer


def settle(value: object, seen: dict[int, object] | None = None) -> object:
    """Replace the stand-ins anywhere inside ``value``; dicts and lists are changed in place."""
    seen = {} if seen is None else seen
    if isinstance(value, torch.Tensor | str | int | float) or value is None:
        return value
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, ArrayStandIn | DtypeStandIn):
        return value.value
    if isinstance(value, HistoryStandIn):
        return seen.setdefault(id(value), _history(value))
    if isinstance(value, dict):
        seen[id(value)] = value
        value.update({key: settle(item, seen) for key, item in value.items()})
    elif isinstance(value, list):
        seen[id(value)] = value
        value[:] = [settle(item, seen) for item in value]
    elif isinstance(value, tuple) and type(value) is tuple:
        # Noted too: tuples of tuples may hold one another a million times.
        return seen.setdefault(id(value), tuple(settle(item, seen) for item in value))
    return value
