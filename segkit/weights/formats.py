"""One local file to one dict, without ever running what the file says.

Formats: the zip files of ``torch.save`` since 1.6, the stream of pickles before that, and
safetensors. All of them through readers that hold data and call nothing (``safe_pickle``).
"""

import json
import math
import pickle
import re
import struct
from _compat_pickle import IMPORT_MAPPING
from pathlib import Path
from typing import Any

import torch

from segkit.safe_pickle import allowed_globals, settle

from .errors import CheckpointError, CheckpointNotFoundError, UnsafeCheckpointError

_ZIP = b'PK\x03\x04'
_SAFETENSORS_DTYPES = {
    'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16,
    'I64': torch.int64, 'I32': torch.int32, 'I16': torch.int16, 'I8': torch.int8,
    'U8': torch.uint8, 'BOOL': torch.bool,
}  # fmt: skip


def read_file(path: Path, map_location: Any = 'cpu', mmap: bool = False) -> Any:
    """Read a checkpoint file; whatever it holds comes back as data.

    Args:
        mmap: leave tensors on disk until they are touched (zip files and safetensors on the CPU).
            The file must then stay as it is while they are in use.

    Raises:
        CheckpointNotFoundError, UnsafeCheckpointError, CheckpointError: see ``errors``.
    """
    if not path.is_file():
        raise CheckpointNotFoundError(
            f'{path}: there is no such checkpoint file; check the path (relative paths start at '
            f'{Path.cwd()}).'
        )
    if path.suffix == '.safetensors':
        return _read_safetensors(path, map_location, mmap)
    with path.open('rb') as file:
        magic = file.read(4)
    _check_magic(path, magic)
    return settle(_read_pickle(path, map_location, mmap and magic == _ZIP))


def _check_magic(path: Path, magic: bytes) -> None:
    if len(magic) < 4:
        raise CheckpointError(f'{path}: the file is empty or truncated; fetch or copy it again.')
    if magic[:1] == b'<' or magic == b'vers':
        raise CheckpointError(
            f'{path}: this is text (a web page or a Git LFS pointer), not a checkpoint; '
            'download the file itself.'
        )


def _read_pickle(path: Path, map_location: Any, mmap: bool) -> Any:
    try:
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except (pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError) as error:
        raise _explain(path, str(error)) from None
    except (RuntimeError, EOFError, OSError, struct.error, AttributeError) as error:
        raise _damaged(path, str(error)) from None


def _explain(path: Path, reason: str) -> CheckpointError:
    found = re.search(r'GLOBAL (\S+)', reason)
    if found:
        name = _name_today(found[1])
        return UnsafeCheckpointError(
            f'{path}: refused, because the file asks for {name!r}, which loading weights does not '
            'need and which could run code; nothing was executed. If you trust its origin, load '
            "it where it was made and save its 'state_dict' alone."
        )
    detail = reason.split('WeightsUnpickler error:')[-1].strip().split('\n')[0]
    if 'Unsupported operand' in detail or 'pickle data was truncated' in reason or not detail:
        return _damaged(path, detail)
    return UnsafeCheckpointError(
        f'{path}: refused, because the file holds {detail.rstrip(".")}; nothing was executed. '
        "Save its 'state_dict' alone where it was made, and load that."
    )


def _name_today(name: str) -> str:
    """A global as Python 3 calls it: protocol 2 writes the module names of Python 2."""
    module, _, attribute = name.rpartition('.')
    return f'{IMPORT_MAPPING.get(module, module) or "builtins"}.{attribute}'


def _damaged(path: Path, reason: str) -> CheckpointError:
    detail = reason.strip().split('\n')[0][:160] or 'it ends too early'
    size = path.stat().st_size
    return CheckpointError(
        f'{path}: not a complete checkpoint ({size} bytes; {detail}): it is truncated, damaged or '
        'of another kind. Delete it and download or copy it again.'
    )


def _read_safetensors(path: Path, map_location: Any, mmap: bool) -> dict:
    """safetensors: 8 bytes of header length, a JSON header, then the raw tensors."""
    size = path.stat().st_size
    try:
        with path.open('rb') as file:
            (length,) = struct.unpack('<Q', file.read(8))
            if length > size - 8:
                raise ValueError('the header reaches beyond the end')
            header = json.loads(file.read(length))
    except (ValueError, struct.error) as error:
        raise _damaged(path, str(error)) from None
    meta = header.pop('__metadata__', {})
    data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    device = 'cpu' if map_location is None or callable(map_location) else map_location
    state = {}
    for name, entry in header.items():
        tensor = _slice(path, data[8 + length :], name, entry)
        tensor = tensor if mmap else tensor.clone()
        state[name] = tensor.to(device)
    return {'meta': _parse_meta(meta), 'state_dict': state}


def _slice(path: Path, data: torch.Tensor, name: str, entry: dict) -> torch.Tensor:
    dtype = _SAFETENSORS_DTYPES.get(entry['dtype'])
    if dtype is None:
        raise CheckpointError(f'{path}: tensor {name!r} has the unknown dtype {entry["dtype"]!r}.')
    start, end = entry['data_offsets']
    expected = math.prod(entry['shape']) * dtype.itemsize
    if not 0 <= start <= end <= data.numel() or end - start != expected:
        raise _damaged(path, f'tensor {name!r} lies outside the file')
    raw = data[start:end]
    # A view needs its storage offset to be a multiple of the item size; else it is copied.
    raw = raw if raw.storage_offset() % dtype.itemsize == 0 else raw.clone()
    return raw.view(dtype).view(entry['shape'])


def _parse_meta(meta: dict[str, str]) -> dict:
    """safetensors metadata maps strings to strings; values that are JSON are decoded."""
    parsed = {}
    for key, text in meta.items():
        try:
            parsed[key] = json.loads(text)
        except ValueError:
            parsed[key] = text
    return parsed
