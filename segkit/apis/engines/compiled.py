"""PyTorch's own compiler on the network, its weights frozen into what is compiled."""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.apis.export import ExportedNetwork

from .settings import Settings


def compiled(net: ExportedNetwork, settings: Settings) -> Callable[[Tensor], Tensor]:
    """``net`` as a compiled function: (N, C, H, W) float32 -> (N, K, h, w) float32.

    The first picture of a size waits for the compiler.
    """
    call = torch.compile(net, dynamic=False, options={'freezing': True})
    dtype = torch.bfloat16 if settings.precision == 'bf16' else None

    @torch.no_grad()
    def run(image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, dtype, enabled=dtype is not None):
            return call(image)

    return run
