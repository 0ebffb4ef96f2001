"""What the gradients of attention need of output and gradient at each pixel: sums over channels."""

import torch
from torch import Tensor


def sum_of_channel_products(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum over dim 1 of left * right, both of one dtype: products and sum in the wider ``dtype``.

    In half precision, products rounded before they are added up cost three digits of the sum.
    """
    product = left * right if left.dtype == dtype else left.to(dtype).mul_(right)
    return product.sum(1)
