"""PyTorch's own compiler on the network, its weights frozen into what is compiled.

The first picture of each size waits for the compiler, from a quarter of a minute for a small
network to some minutes for a large one; it is said when that happens. What was compiled is kept by
PyTorch (TORCHINDUCTOR_CACHE_DIR, by default in the folder of temporary files), so that the next
process waits for a fraction of that.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from segkit.apis.export import ExportedNetwork

from .sessions import warn_without_bf16
from .settings import BackendError, Settings


def compiled(net: ExportedNetwork, settings: Settings) -> Callable[[Tensor], Tensor]:
    """``net`` as a compiled function: (N, C, H, W) float32 -> (N, K, h, w) float32."""
    call = torch.compile(net, dynamic=False, options={'freezing': True})
    dtype = torch.bfloat16 if settings.precision == 'bf16' else None
    seen: set[tuple[int, ...]] = set()

    @torch.no_grad()
    def run(image: Tensor) -> Tensor:
        if (size := tuple(image.shape)) not in seen:
            if not seen and dtype is not None and image.device.type == 'cpu':
                warn_without_bf16()
            seen.add(size)
            print(
                f'compile: compiling the network for pictures of {size[3]}x{size[2]}, {size[0]} at '
                'once; this may take minutes, and less the next time'
            )
        try:
            with torch.autocast(image.device.type, dtype, enabled=dtype is not None):
                return call(image)
        except Exception as error:
            if not type(error).__module__.startswith(('torch._dynamo', 'torch._inductor')):
                raise
            reason = ' '.join(str(error).split())[:300]
            raise BackendError(
                f"backend='compile': PyTorch's compiler stopped ({reason}). It needs a compiler "
                "of C++ (apt install g++, or CXX with the path of one); backend='torch' needs none."
            ) from error

    return run
