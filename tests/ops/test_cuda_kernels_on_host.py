"""The index arithmetic of the CUDA kernels, compiled as host code, against the reference op."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from segkit.ops import psa_mask
from segkit.ops.build_ext import SOURCE

HARNESS = Path(__file__).with_name('psa_mask_host.cpp')
DEFAULT_TILE = 0
TILINGS = ((600, 32), (1500, -96))  # ragged tiles, fewer threads, the last of them first
BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16,
        torch.float32: torch.int32, torch.float64: torch.int64}  # fmt: skip
SHAPES = [  # (n, h, w, mask_h, mask_w)
    (2, 7, 7, 13, 13),  # the mask reaches everything
    (1, 8, 8, 15, 15),  # rows of whole 16-byte cells
    (2, 5, 6, 4, 4),  # even mask
    (1, 6, 16, 31, 9),  # truncated on one axis
    (1, 4, 5, 21, 33),  # larger than the map needs
    (3, 1, 1, 1, 1),
    (1, 1, 37, 3, 50),
    (1, 9, 3, 1, 2),
    (1, 2, 150, 3, 97),  # wider than a tile
    (1, 13, 11, 66, 66),
]


def compiler() -> str:
    found = shutil.which('g++')
    if not found:
        pytest.skip('needs g++')
    return found


@pytest.fixture(scope='module')
def host(tmp_path_factory):
    target = tmp_path_factory.mktemp('psa_host') / 'psa_mask_host.so'
    flags = ['-std=c++17', '-O1', '-shared', '-fPIC', f'-I{SOURCE.parent}']
    subprocess.run([compiler(), *flags, str(HARNESS), '-o', str(target)], check=True)
    function = ctypes.CDLL(str(target)).psa_mask_host
    integer, long, pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [integer, integer, long, *[integer] * 4, long, integer, pointer, pointer]
    function.restype = long
    return function


def run_host(host, kind, source, shape, tile_bytes=DEFAULT_TILE, threads=256) -> Tensor:
    n, h, w, mask_h, mask_w = shape
    channels = mask_h * mask_w if kind >= 2 else h * w
    out = torch.full((n, channels, h, w), float('nan'), dtype=source.dtype)
    size = source.element_size()
    host(kind, size, *shape, tile_bytes, threads, source.data_ptr(), out.data_ptr())
    return out


def random_bits(shape: tuple, dtype: torch.dtype) -> Tensor:
    """Every bit pattern, NaN with payload included: the op must move bits, not numbers."""
    limits = torch.iinfo(BITS[dtype])
    return torch.randint(limits.min, limits.max, shape, dtype=BITS[dtype]).view(dtype)


def assert_same_bits(got: Tensor, expected: Tensor) -> None:
    bits = BITS[got.dtype]
    assert torch.equal(got.view(bits), expected.contiguous().view(bits))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('mode', [0, 1], ids=['collect', 'distribute'])
def test_forward_moves_the_bits_the_reference_moves(host, mode, shape, dtype):
    n, h, w, mask_h, mask_w = shape
    windows = random_bits((n, mask_h * mask_w, h, w), dtype)
    expected = psa_mask(windows, mode, (mask_h, mask_w))
    assert_same_bits(run_host(host, mode, windows, shape), expected)
    for tile_bytes, threads in TILINGS:
        assert_same_bits(run_host(host, mode, windows, shape, tile_bytes, threads), expected)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('mode', [0, 1], ids=['collect', 'distribute'])
def test_backward_moves_the_bits_the_reference_moves(host, mode, shape, dtype):
    n, h, w, mask_h, mask_w = shape
    grad = random_bits((n, h * w, h, w), dtype)
    grad = torch.where(grad.isnan(), 0, grad)  # the reference's scatter drops NaN payloads
    expected = torch.ops.segkit.psa_mask_backward(grad, mode, mask_h, mask_w)
    assert_same_bits(run_host(host, 2 + mode, grad, shape), expected)
    for tile_bytes, threads in TILINGS:
        assert_same_bits(run_host(host, 2 + mode, grad, shape, tile_bytes, threads), expected)


@pytest.mark.parametrize('size', [2, 4, 8])
def test_a_tile_fits_the_shared_memory_that_needs_no_opt_in(host, size):
    dtype = {2: torch.bfloat16, 4: torch.float32, 8: torch.float64}[size]
    shapes = (
        (0, 49, 49, 97, 97),
        (0, 64, 128, 97, 97),
        (0, 32, 32, 66, 66),
        (0, 1, 9000, 1, 17999),
    )
    for shape in (*shapes, (0, 3, 3, 500, 500), (0, 40000, 1, 9, 9)):
        for kind in range(4):  # no image: only the plan is made
            nothing = torch.empty(0, dtype=dtype)
            used = host(kind, size, *shape, DEFAULT_TILE, 256, nothing.data_ptr(), 0)
            assert 0 < used <= 48 * 1024, (kind, shape, used)


def test_no_thread_leaves_its_tile_its_tensors_or_a_cell(tmp_path):
    program = tmp_path / 'psa_mask_host'
    flags = ['-std=c++17', '-O1', '-DPSA_MAIN', f'-I{SOURCE.parent}', '-fno-sanitize-recover=all']
    flags.append('-fsanitize=address,undefined')
    built = subprocess.run(
        [compiler(), *flags, str(HARNESS), '-o', str(program)], capture_output=True, text=True
    )
    if built.returncode:
        pytest.skip(f'g++ has no sanitizers here: {built.stderr.strip()[-200:]}')
    done = subprocess.run([str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == '168 runs\n'
