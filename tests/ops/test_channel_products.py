"""Sums of products next to float64."""

import pytest
import torch

from segkit.ops.channel_products import sum_of_channel_products


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_products_of_half_precision_are_added_up_unrounded(dtype):
    torch.manual_seed(0)
    left, right = (torch.randn(2, 256, 5, 7).to(dtype) for _ in range(2))
    before = left.clone()
    got = sum_of_channel_products(left, right, torch.float32)
    exact = (left.double() * right.double()).sum(1)
    assert got.dtype == torch.float32
    assert (got - exact).abs().max() < 1e-6 * exact.abs().max()
    assert torch.equal(left, before)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_products_of_the_dtype_of_the_sum_stay_as_they_are(dtype):
    left, right = (torch.randn(2, 6, 5, 7, dtype=dtype) for _ in range(2))
    before = left.clone()
    assert torch.equal(sum_of_channel_products(left, right, dtype), (left * right).sum(1))
    assert torch.equal(left, before)
