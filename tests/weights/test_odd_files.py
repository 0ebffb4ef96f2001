"""Files that are no checkpoint, or an odd one: each loads or is named in one sentence of ours."""

import collections
import datetime
import io
import json
import pickle
import zipfile
from fractions import Fraction
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from helpers.checkpoint_files import published, tiny_model

from segkit.engine.checkpoints import load_verified
from segkit.weights import (
    CheckpointError,
    CheckpointNotFoundError,
    dataset_meta_of,
    load_backbone_weights,
    load_checkpoint,
    load_into,
)

STATE = tiny_model().state_dict()


def each(change):
    return {name: change(tensor) for name, tensor in STATE.items()}


def nested(depth, pack):
    value = pack(None)
    for _ in range(depth):
        value = pack(value)
    return value


def meta(**values):
    return {'state_dict': STATE, 'meta': values}


CYCLE: dict = {}
CYCLE['self'] = CYCLE
CONTENTS = {
    **{repr(value): value for value in ({}, [1], None, 5, 'x', (1, 2), {1, 2}, b'x', 1.0, True)},
    'a tensor': torch.zeros(3),
    'int keys': {1: torch.zeros(2), 2: torch.ones(2)},
    'a None key': {None: torch.zeros(1)},
    'tuple keys': {('a', 'b'): torch.zeros(1)},
    'mixed keys': {**STATE, 3: torch.zeros(1)},
    **{f'state_dict is {v!r}'[:40]: {'state_dict': v}
       for v in (None, [1], 'x', {}, {1: torch.zeros(1)}, torch.zeros(2))},
    **{f'meta is {v!r}': {'state_dict': STATE, 'meta': v} for v in (None, [1], 'x', {1: 2})},
    **{f'classes are {v!r}'[:40]: meta(CLASSES=v)
       for v in (5, 'abc', None, [[1], [2]], torch.zeros(3), torch.tensor(3), np.array(['a']))},
    **{f'palette is {v!r}'[:40]: meta(CLASSES=['a'], PALETTE=v) for v in (
        'x', [1, 2], [[None] * 3], [[float('nan')] * 3], [[float('inf')] * 3], torch.zeros(1, 3))},
    'dataset_meta is a list': meta(dataset_meta=[1]),
    'arrays': each(lambda t: t.numpy()),
    'arrays in state_dict': {'state_dict': each(lambda t: t.numpy())},
    'floats': each(lambda t: 1.0),
    'lists': each(lambda t: t.tolist()),
    **{f'weights are {d}': each(lambda t, d=d: t.to(d))
       for d in (torch.half, torch.double, torch.int32, torch.bool, torch.complex64,
                 torch.bfloat16, torch.float8_e4m3fn)},
    'sparse': each(lambda t: t.to_sparse()),
    'without data': each(lambda t: t.to('meta')),
    'parameters': each(lambda t: torch.nn.Parameter(t) if t.is_floating_point() else t),
    'one number seen as many': each(lambda t: torch.zeros(()).expand(t.shape)),
    'a huge view': {'a': torch.zeros(1).expand(10**12), **STATE},
    'scalars': each(lambda t: torch.tensor(1.0)),
    'empty tensors': each(lambda t: torch.zeros(0)),
    'more dimensions': each(lambda t: t[None]),
    **{f'a name {n!r}'[:30]: {**STATE, n: torch.zeros(3)}
       for n in ('', '...', 'a\nb', 'ü\u202e', 'x' * 9999, 'module.')},
    'a deep dict': nested(300, lambda value: {'a': value}),
    'a deep list': {**STATE, 'a': nested(300, lambda value: [value])},
    'a circle': CYCLE,
    'a circle beside': {**STATE, 'c': CYCLE},
    'numbers of numpy': {**meta(iter=np.int64(3), epoch=0), 'x': np.array(3)},
    'object arrays': {'a': np.array([1, 'x', None], object)},
    'dates of numpy': {**STATE, 'm': np.array(['2001-01-01'], 'datetime64[D]')},
    'structured arrays': {'a': np.zeros(2, [('a', 'f4')])},
    'big endian': {**STATE, 'a': np.zeros(3, '>f8')},
    **{type(value).__name__: {**STATE, 'a': value} for value in (
        datetime.datetime(2020, 1, 1), PurePosixPath('/x'), Fraction(1, 2), slice(1, 2), range(3),
        1j, 10**400, bytearray(b'x'), frozenset([1]), collections.Counter('abc'),
        collections.defaultdict(list), torch.float32, torch.device('cuda:3'), torch.Size([1]), int,
        len, ...)},
    'a whole model': {'model': tiny_model()},
    'no place in training': meta(),
    'a place in words': meta(iter='x'),
}  # fmt: skip


def archive(**entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        for name, content in entries.items():
            file.writestr(name.replace('__', '/').replace('_dot_', '.'), content)
    return buffer.getvalue()


def tensors(header, body=bytes(4)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + body


def torch_file():
    buffer = io.BytesIO()
    torch.save(published(tiny_model()), buffer)
    return buffer.getvalue()


def script():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), buffer)
    return buffer.getvalue()


WHOLE, ONE = torch_file(), dict(dtype='F32', shape=[1], data_offsets=[0, 4])
# name -> (content, what the sentence says)
RAW = {
    'empty': (b'', 'empty'),
    'one byte': (b'\x80', 'empty or truncated'),
    'zeros': (bytes(3000), ''),
    'ones': (b'\xff' * 3000, ''),
    'text': (b'hello world, this is text\n' * 9, 'text'),
    'JSON': (b'{"a": 1}', 'JSON'),
    'a web page': (b'<html>', 'web page'),
    'a pointer of LFS': (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    'gzip': (b'\x1f\x8b\x08' + bytes(99), 'gzip'),
    'xz': (b'\xfd7zXZ' + bytes(99), 'xz'),
    'HDF5': (b'\x89HDF\r\n\x1a\n' + bytes(99), 'HDF5'),
    'an array': (b'\x93NUMPY\x01\x00' + bytes(99), 'numpy array'),
    'ONNX': (b'\x08\x0a\x12\x07pytorch\x1a\x032.0' + bytes(99), 'ONNX'),
    'TFLite': (b'\x1c\0\0\0TFL3' + bytes(99), 'TFLite'),
    'GGUF': (b'GGUF' + bytes(99), 'GGUF'),
    'tar': (bytes(257) + b'ustar' + bytes(300), 'tar'),
    'a picture': (b'\x89PNG\r\n\x1a\n' + bytes(99), 'PNG'),
    'TorchScript': (script(), 'torch.jit.load'),
    'arrays in an archive': (archive(a_dot_npy=b'x'), 'archive of numpy arrays'),
    'an archive': (archive(readme_dot_txt=b'x'), 'zip archive'),
    'an empty archive': (archive(), ''),
    'Keras': (archive(config_dot_json=b'{}', model_dot_h5=b'x'), 'zip archive'),
    'no pickle inside': (archive(a__version=b'3'), 'zip archive'),
    'a bad pickle inside': (archive(a__data_dot_pkl=b'nope', a__version=b'3'), ''),
    'an empty pickle inside': (archive(a__data_dot_pkl=b'', a__version=b'3'), ''),
    'half': (WHOLE[: len(WHOLE) // 2], 'truncated'),
    'a byte less': (WHOLE[:-1], 'truncated'),
    'no beginning': (WHOLE[100:], ''),
    'a pickle of text': (pickle.dumps('x'), 'plain values'),
    'a pickle of arrays': (pickle.dumps({'a': np.zeros(3)}), 'numpy arrays'),
    'a deep pickle': (pickle.dumps(nested(300, lambda v: [v])), ''),
    'a pickle cut short': (pickle.dumps({'a': list(range(999))})[:-50], 'truncated'),
    'no tensors': (tensors(b'{}      ', b''), 'no weights'),
    'a header of 2**63': ((2**63).to_bytes(8, 'little') + b'{"a":1}', ''),
    'a header that is no JSON': (tensors(b'{"a": nope'), ''),
    'a header of numbers': (tensors(b'{"a": 5 }'), ''),
    'a deep header': (tensors(b'{"a":' + b'[' * 20_000), ''),
    'a dtype unknown': (tensors({'a': {**ONE, 'dtype': 'X'}}), ''),
    'a negative shape': (tensors({'a': {**ONE, 'shape': [-1]}}), ''),
    'an impossible shape': (tensors({'a': {**ONE, 'shape': [2**62, 4]}}), ''),
    'tensors in one place': (tensors({'a': ONE, 'b': ONE}), ''),
    'numbers as metadata': (tensors({'__metadata__': {'a': 1}, 'a': ONE}), ''),
    'metadata nested deeply': (tensors({'__metadata__': {'x': '[' * 9999}, 'a': ONE}), ''),
    'bytes missing': (tensors({'a': ONE}, b''), ''),
    'bytes too many': (tensors({'a': ONE}, bytes(9)), ''),
}  # fmt: skip

USES = {
    'test': lambda path: load_into(tiny_model(), path),
    'fine-tuning': lambda path: load_into(tiny_model(), path, 'finetune'),
    'backbone': lambda path: load_backbone_weights(tiny_model().backbone, path),
    'resume': load_verified,
    'classes': lambda path: dataset_meta_of(load_checkpoint(path)),
}


def used(path, names=tuple(USES)):
    """Messages of the refusals; anything but success and a refusal that names the file raises."""
    said = []
    for name in names:
        try:
            USES[name](path)
        except CheckpointError as error:
            said.append(str(error))
    assert all(str(path) in message for message in said), said
    return said


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.filterwarnings('ignore')
def test_odd_contents_are_loaded_or_named(legacy, tmp_path):
    assert len(CONTENTS) >= 80
    for number, content in enumerate(CONTENTS.values()):
        path = tmp_path / f'{number}.pth'
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        names = ('test',) if legacy else tuple(USES)
        assert not any('truncated' in message for message in used(path, names))


@pytest.mark.parametrize('name', RAW)
def test_other_files_are_named_for_what_they_are(name, tmp_path):
    content, expected = RAW[name]
    path = tmp_path / 'odd.pth'
    path.write_bytes(content)
    said = used(path)
    assert len(said) >= (2 if name == 'metadata nested deeply' else 4)
    assert expected in said[0]
    assert ('truncated' in said[0]) == (expected in ('truncated', 'empty or truncated', 'empty'))


def test_folders_and_missing_files_are_named(tmp_path):
    for path in (tmp_path, tmp_path / 'none.pth'):
        assert len(used(path)) == len(USES)
    with pytest.raises(CheckpointNotFoundError, match='is a folder'):
        load_checkpoint(tmp_path)


def test_the_cure_for_torchscript_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), 'net.pt')
    with pytest.raises(CheckpointError, match='TorchScript') as caught:
        load_checkpoint('net.pt')
    exec(str(caught.value).split('with: ')[1], dict(torch=torch))
    load_into(torch.nn.Linear(2, 2), 'weights.pth')
