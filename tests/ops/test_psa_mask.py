"""psa_mask against loops over pairs of pixels, values that can be read by eye, and bad input."""

import sys

import pytest
import torch
from helpers.psa_oracle import GEOMETRIES, loop_mask

from segkit.ops import PSAMask, psa_mask

TYPES = ('collect', 'distribute')
psa_mask_module = sys.modules['segkit.ops.psa_mask']


def windows_for(size, mask, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shape = (2, mask[0] * mask[1], *size)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def test_a_row_of_three_pixels_by_eye():
    # One row, mask (1, 3): channel 0 speaks of the left neighbour, 1 of itself, 2 of the right.
    windows = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).view(1, 3, 1, 3)
    collected = psa_mask(windows, 'collect', (1, 3)).view(3, 3)  # rows: other, columns: own
    assert collected.tolist() == [[4, 2, 0], [7, 5, 3], [0, 8, 6]]
    distributed = psa_mask(windows, 'distribute', (1, 3)).view(3, 3)  # rows: own, columns: other
    assert distributed.tolist() == [[4, 7, 0], [2, 5, 8], [0, 3, 6]]


@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_equals_loops_over_pairs(size, mask, psa_type):
    windows = windows_for(size, mask)
    expected = loop_mask(windows, psa_type, mask)
    assert torch.equal(psa_mask(windows, psa_type, mask), expected)
    token_major = windows.to(memory_format=torch.channels_last)
    assert torch.equal(psa_mask(token_major, psa_type, mask), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_moves_every_floating_type_unchanged(dtype):
    windows = windows_for((4, 5), (5, 4), dtype)
    out = psa_mask(windows, 'collect', (5, 4))
    assert out.dtype == dtype
    assert torch.equal(out, loop_mask(windows, 'collect', (5, 4)))


@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_first_and_second_derivatives(size, mask, psa_type):
    windows = windows_for(size, mask)[:1].requires_grad_()
    call = PSAMask(psa_type, mask)
    assert torch.autograd.gradcheck(call, windows)
    assert torch.autograd.gradgradcheck(call, windows)


@pytest.mark.parametrize('psa_type', TYPES)
@pytest.mark.parametrize(('size', 'mask'), GEOMETRIES)
def test_a_map_too_large_for_one_index_goes_by_rows(size, mask, psa_type, monkeypatch):
    windows = windows_for(size, mask).requires_grad_()
    expected = psa_mask(windows, psa_type, mask)
    upstream = torch.randn_like(expected)
    (right,) = torch.autograd.grad(expected, windows, upstream)
    row_bytes = 4 * size[0] * size[1] ** 2
    for rows in (1, 2):
        monkeypatch.setattr(psa_mask_module, 'INDEX_BYTES', row_bytes)
        monkeypatch.setattr(psa_mask_module, 'PART_BYTES', rows * row_bytes)
        out = psa_mask(windows, psa_type, mask)
        assert torch.equal(out, expected)
        assert torch.equal(torch.autograd.grad(out, windows, upstream)[0], right)


def test_what_is_kept_between_calls_is_bounded():
    kept = psa_mask_module._index_of_rows
    kept.cache_clear()
    for size, mask in (((20, 30), (9, 9)), ((64, 100), (3, 3)), ((33, 128), (1, 5))):
        arguments = (*size, mask, 0, torch.device('cpu'))
        parts = list(psa_mask_module._index(*arguments))
        assert sum(len(index) for _, index in parts) == (size[0] * size[1]) ** 2
    assert kept.cache_info().currsize == kept.cache_info().maxsize == 2
    row_bytes = 4 * 64 * 100 * 100
    length = psa_mask_module.PART_BYTES // row_bytes
    index = kept(64, 100, (3, 3), 0, length, 4, torch.device('cpu'))
    assert kept.cache_info().hits == 1  # the one that the loop above kept
    assert index.nbytes <= psa_mask_module.PART_BYTES


def test_a_value_outside_the_map_does_not_spread():
    windows = windows_for((3, 3), (7, 7)).requires_grad_()
    with torch.no_grad():
        windows[:, 0] = float('nan')  # offset (-3, -3): off the map from every pixel
    out = psa_mask(windows, 'collect', (7, 7))
    assert out.isfinite().all()
    out.sum().backward()
    assert windows.grad[:, 0].eq(0).all()
    assert windows.grad.sum() == 2 * 9 * 9


def test_one_pixel_is_a_copy_not_the_input():
    windows = torch.ones(1, 1, 1, 1)
    out = psa_mask(windows.to(memory_format=torch.channels_last), 0, 1)
    assert out.data_ptr() != windows.data_ptr()


def test_integers_name_the_types_as_in_mmcv():
    windows = windows_for((3, 4), (3, 5))
    for number, name in enumerate(TYPES):
        assert torch.equal(psa_mask(windows, number, (3, 5)), psa_mask(windows, name, (3, 5)))
    assert repr(PSAMask(1, 3)) == "PSAMask(psa_type='distribute', mask_size=(3, 3))"


def test_bad_input_is_named():
    windows = windows_for((3, 4), (3, 5))
    with pytest.raises(ValueError, match=r'has 15 channels, mask_size \(5, 5\) needs 5 \* 5 = 25'):
        psa_mask(windows, 'collect', (5, 5))
    with pytest.raises(ValueError, match="'collect'.*'distribute'.*got 'bi-direction'"):
        psa_mask(windows, 'bi-direction', (3, 5))
    with pytest.raises(ValueError, match='got 2'):
        psa_mask(windows, 2, (3, 5))
    with pytest.raises(ValueError, match='got shape'):
        psa_mask(windows[0], 'collect', (3, 5))
    with pytest.raises(TypeError, match=r'got torch\.int64'):
        psa_mask(windows.long(), 'collect', (3, 5))
    with pytest.raises(ValueError, match='positive integers'):
        psa_mask(windows, 'collect', (0, 15))
