"""Pickles of arrays are read by stand-ins: numbers come through, nothing else does."""

import io
import os
import pickle

import numpy as np
import pytest
from helpers.checkpoint_files import Build, Call

from segkit.safe_pickle import read_arrays


def read(content, protocol=None):
    return read_arrays(io.BytesIO(pickle.dumps(content, protocol)))


@pytest.mark.parametrize('protocol', range(3, 6))
@pytest.mark.parametrize(
    'array',
    [
        np.arange(6, dtype=np.uint8).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.arange(24.0).reshape(2, 3, 4)[:, ::2],
        np.array([1.5, -2], '>f4'),
        np.zeros((0, 5), np.int32),
        np.array(7),
    ],
    ids=['bytes', 'Fortran', 'strided', 'big-endian', 'empty', 'no axis'],
)
def test_arrays_come_back_with_shape_type_and_values(array, protocol):
    (got,) = read([array], protocol)
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape) == (array.dtype, array.shape)
    assert np.array_equal(got, array)
    got[...] = 0  # one's own memory, to write into


def test_containers_and_numpy_scalars_come_back():
    assert read({'a': [1, 2.5, (None, 'x')], 'b': np.float32(0.5)}) == {
        'a': [1, 2.5, (None, 'x')],
        'b': 0.5,
    }


def test_a_call_is_refused_by_name_and_not_run(tmp_path):
    trace = tmp_path / 'trace'
    with pytest.raises(ValueError, match=r'it asks to run posix\.system'):
        read([Call(os.system, f'touch {trace}')])
    assert not trace.exists()


@pytest.mark.parametrize('protocol', [3, 5])
def test_object_arrays_are_refused(protocol):
    with pytest.raises(ValueError, match='objects instead of numbers'):
        read(np.array([{'x': 1}], object), protocol)


def test_dtype_flags_of_the_file_are_ignored():
    """numpy would believe a file that says float64 holds object references, and crash."""
    flagged = Build(np.dtype, ('f8', False, True), (3, '<', None, None, None, -1, -1, 63))
    (dtype,) = read([flagged])
    assert dtype == np.dtype('f8')
    assert dtype.flags == 0


@pytest.mark.parametrize('content', [b'', b'abc', pickle.dumps(np.zeros(9))[:-20]])
def test_a_damaged_file_is_an_error_with_a_reason(content):
    with pytest.raises(ValueError, match=r'\w+'):
        read_arrays(io.BytesIO(content))
