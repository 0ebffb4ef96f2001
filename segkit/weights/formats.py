"""One local file to one dict, without ever running what the file says.

Formats: the zip files of ``torch.save`` since 1.6, the stream of pickles before that, and
safetensors, told by their content. All of them through readers that hold data and call nothing
(``safe_pickle``). Anything else is named for what it is.
"""

import json
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING
from pathlib import Path
from typing import Any

import torch

from segkit.errors import CheckpointError, CheckpointNotFoundError, UnsafeCheckpointError
from segkit.safe_pickle import allowed_globals, read_arrays, settle

from .integrity import refuse_bomb

_ZIP = b'PK\x03\x04'
_TORCH_LEGACY = b'l\xfc\x9cF\xf9 j\xa8P\x19'  # the number that torch.save wrote first
# First bytes -> what has them.
_OTHERS = {
    b'\x89HDF': 'an HDF5 file, as Keras and Caffe write; weights of segkit are torch tensors',
    b'\x93NUMPY': 'a single numpy array',
    b'GGUF': 'a GGUF file of a language model',
    b'\x1f\x8b': 'packed with gzip; unpack it first',
    b'BZh': 'packed with bzip2; unpack it first',
    b'\xfd7zXZ': 'packed with xz; unpack it first',
    b'(\xb5/\xfd': 'packed with zstd; unpack it first',
    b'7z\xbc\xaf': 'a 7z archive; unpack it first',
    b'Rar!': 'a RAR archive; unpack it first',
    b'\x89PNG': 'a PNG picture',
    b'\xff\xd8\xff': 'a JPEG picture',
    b'%PDF': 'a PDF document',
    b'\x7fELF': 'a program',
    b'<': 'this is text (a web page), not a checkpoint; download the file itself',
    b'version https': 'this is text (a Git LFS pointer), not a checkpoint; run `git lfs pull`',
    b'{': 'this is text (JSON), not a checkpoint',
}
_ARRAYS_CURE = 'torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, "weights.pth")'


def read_file(path: Path, map_location: Any = 'cpu', mmap: bool = False) -> object:
    """Read a checkpoint file; whatever it holds comes back as data.

    Args:
        mmap: leave tensors on disk until they are touched (zip files and safetensors on the CPU).
            The file must then stay as it is while they are in use.

    Raises:
        CheckpointNotFoundError, UnsafeCheckpointError, CheckpointError: see ``segkit.errors``.
    """
    if not path.is_file():
        what = 'is a folder' if path.is_dir() else 'there is no such checkpoint file'
        raise CheckpointNotFoundError(
            f'{path}: {what}; check the path (relative paths start at {Path.cwd()}).'
        )
    kind = recognise(path)
    if kind == 'safetensors':
        return _read_safetensors(path, map_location, mmap)
    mmap = mmap and kind == 'zip'
    try:
        with torch.serialization.safe_globals(allowed_globals()):
            content = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
        return settle(content)
    except Exception as error:  # a damaged pickle may raise nearly all of them
        raise _explain(path, error) from error


def recognise(path: Path) -> str:
    """'safetensors', 'zip' or 'legacy', by the first bytes and what an archive lists.

    Raises:
        CheckpointError: it is empty, cut short or something else, which is named.
    """
    with path.open('rb') as file:
        head = file.read(512)
    if len(head) < 4:
        raise CheckpointError(f'{path}: the file is empty or truncated; fetch or copy it again.')
    if head[8:9] == b'{' and head[:1] != b'{':
        return 'safetensors'
    if head[:4] == _ZIP:
        _name_archive(path)
        return 'zip'
    _name_other(path, head)
    return 'legacy'


def _name_other(path: Path, head: bytes) -> None:
    """Raise for a file that is neither zip nor safetensors nor of torch before 1.6."""
    for magic, what in _OTHERS.items():
        if head.startswith(magic):
            raise CheckpointError(f'{path}: {what if what[:4] == "this" else f"is {what}"}.')
    if head[4:8] == b'TFL3' or (head[0] == 8 and head[1] < 32 and head[2] in b'\x12\x1a\x22:B'):
        kind = 'a TFLite' if head[4:8] == b'TFL3' else 'an ONNX'
        raise CheckpointError(
            f'{path}: is {kind} model, a graph for another runtime; give the checkpoint that it '
            'was made from.'
        )
    if head[257:262] == b'ustar':
        raise CheckpointError(f'{path}: is a tar archive; unpack it first.')
    if _TORCH_LEGACY in head[:40]:
        return
    if head[0] == 0x80 or (head[0] in b'(c]}dl' and b'\n' in head):
        _name_pickle(path)
    if all(byte in b'\t\n\r' or 32 <= byte < 127 for byte in head[:64]):
        raise CheckpointError(f'{path}: this is text, not a checkpoint; give the file itself.')


def _name_pickle(path: Path) -> None:
    """A pickle that torch.save did not write."""
    try:
        with path.open('rb') as file:
            read_arrays(file)
    except ValueError as error:
        said = str(error)
        if 'asks to run' in said:
            name = _name_today(said.rpartition(' ')[2])
            raise _unsafe(path, f'the file asks for {name!r}') from None
        if not _ends_early(said):
            raise _unsafe(path, f'the file holds {said}') from None
        raise _damaged(path, said) from None
    raise CheckpointError(
        f'{path}: is a pickle of numpy arrays or plain values, not of torch tensors. Make it a '
        f'checkpoint with: {_ARRAYS_CURE}'
    )


def _name_archive(path: Path) -> None:
    """Raise for a zip archive that holds something else than torch.save writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            refuse_bomb(path, archive)
    except CheckpointError:
        raise
    except Exception as error:  # damaged headers raise whatever the byte happens to mean
        raise _damaged(path, str(error)) from None
    inside = {name.partition('/')[2] or name for name in names}
    if 'constants.pkl' in inside:
        raise CheckpointError(
            f'{path}: is a TorchScript program, not a checkpoint. Its weights become one with: '
            f'torch.save(torch.jit.load({path.name!r}).state_dict(), "weights.pth")'
        )
    if any('exported_program' in name or name == 'archive_format' for name in inside):
        raise CheckpointError(
            f'{path}: is a program of torch.export, not a checkpoint. Its weights become one '
            f'with: torch.save(torch.export.load({path.name!r}).state_dict, "weights.pth")'
        )
    if names and all(name.endswith('.npy') for name in names):
        raise CheckpointError(
            f'{path}: is an archive of numpy arrays, not of torch tensors. Make it a checkpoint '
            f'with: arrays = numpy.load({path.name!r}); {_ARRAYS_CURE}'
        )
    if 'data.pkl' not in inside:
        shown = ', '.join(names[:3]) or 'nothing'
        raise CheckpointError(
            f'{path}: is a zip archive (with {shown}), not a checkpoint; unpack it, or give the '
            'file inside.'
        )


def _explain(path: Path, error: Exception) -> CheckpointError:
    reason = str(error)
    found = re.search(r'GLOBAL (\S+)', reason)
    if found:
        return _unsafe(path, f'the file asks for {_name_today(found[1])!r}')
    if isinstance(error, RecursionError):
        return _unsafe(path, 'its values are nested deeper than in any checkpoint')
    detail = reason.split('WeightsUnpickler error:')[-1].strip().split('\n')[0].rstrip('.')
    ours = isinstance(error, (pickle.UnpicklingError, ValueError))
    if ours and detail and 'Unsupported operand' not in detail and not _ends_early(reason):
        return _unsafe(path, f'the file holds {detail[:300]}')
    return _damaged(path, detail or type(error).__name__)


def _unsafe(path: Path, what: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f'{path}: refused, because {what}, which loading weights does not need and which could '
        'run code; nothing was executed. If you trust its origin, load it where it was made and '
        "save its 'state_dict' alone."
    )


def _name_today(name: str) -> str:
    """A global as Python 3 calls it: protocol 2 writes the module names of Python 2."""
    module, _, attribute = name.rpartition('.')
    return f'{IMPORT_MAPPING.get(module, module) or "builtins"}.{attribute}'


def _ends_early(reason: str) -> bool:
    words = ('EOF', 'truncated', 'Ran out', 'ends too early', 'not a zip file', 'central directory')
    return any(word in reason for word in words)


def _damaged(path: Path, reason: str) -> CheckpointError:
    detail = reason.strip().split('\n')[0][:160] or 'no more is known'
    size = path.stat().st_size
    early = _ends_early(reason) and not zipfile.is_zipfile(path)  # whose end is there
    kind = 'truncated' if early else 'damaged, or of a kind not known here'
    return CheckpointError(
        f'{path}: not a complete checkpoint ({size} bytes; {detail}): it is {kind}. Compare its '
        'size with that of the original, and fetch or copy it again if they differ.'
    )


def _read_safetensors(path: Path, map_location: object, mmap: bool) -> dict:
    """``{'meta': the metadata, 'state_dict': the tensors}``."""
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ImportError(f'{path}: reading it needs `pip install safetensors`.') from error
    device = 'cpu' if map_location is None or callable(map_location) else map_location
    try:
        with safe_open(str(path), 'pt') as file:
            meta = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no dict
    except Exception as error:
        raise _damaged(path, str(error)) from None
    state = {n: (t if mmap else t.clone()).to(device) for n, t in state.items()}
    return {'meta': {key: _parsed(text) for key, text in meta.items()}, 'state_dict': state}


def _parsed(text: str) -> object:
    """safetensors metadata maps strings to strings; values that are JSON are decoded."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
