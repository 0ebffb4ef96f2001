"""The compiled CUDA operators: whether they are there, and whether they are wanted.

The extension is optional: every operator has a form in plain torch. It is looked for beside this
file, loaded when segkit.ops is imported, and never built here (see build_ext.py). It registers

    torch.ops.segkit_ext.psa_mask_forward (Tensor input, int mode, int mask_h, int mask_w) -> Tensor
    torch.ops.segkit_ext.psa_mask_backward(Tensor grad,  int mode, int mask_h, int mask_w) -> Tensor

with mode 0 for collect, 1 for distribute, and a kernel for CUDA tensors alone.

    SEGKIT_CUDA_OPS=auto   use it for CUDA tensors where it is there (the default)
    SEGKIT_CUDA_OPS=0      never use it
    SEGKIT_CUDA_OPS=1      use it for CUDA tensors, or stop with an error if it is not there
"""

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor

LIBRARY = Path(__file__).with_name('segkit_ext.so')
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
HAS_CUDA_OPS = False


def setting() -> str:
    """'auto', '0' or '1'."""
    value = os.environ.get('SEGKIT_CUDA_OPS', 'auto').lower()
    if value not in ('auto', '0', '1'):
        raise ValueError(f"SEGKIT_CUDA_OPS is {value!r}; it must be 'auto', '0' or '1'.")
    return value


def load(library: Path = LIBRARY) -> bool:
    """Load the extension if it is there; a file that does not load is worth a warning."""
    global HAS_CUDA_OPS
    if HAS_CUDA_OPS or setting() == '0' or not library.is_file():
        return HAS_CUDA_OPS
    try:
        torch.ops.load_library(str(library))
        HAS_CUDA_OPS = True
    except OSError as error:
        warnings.warn(
            f'{library} does not load with torch {torch.__version__} ({error}); psa_mask runs in '
            'plain torch. Build it again: python -m segkit.ops.build_ext',
            stacklevel=2,
        )
    return HAS_CUDA_OPS


def use_cuda_ops(tensor: Tensor) -> bool:
    """True where the compiled operator should run on this tensor.

    Raises:
        RuntimeError: SEGKIT_CUDA_OPS=1, the tensor is on a GPU and the extension is not loaded.
    """
    wanted = setting()
    if wanted == '0' or not tensor.is_cuda or tensor.dtype not in DTYPES:
        return False
    if wanted == '1' and not HAS_CUDA_OPS:
        raise RuntimeError(
            f'SEGKIT_CUDA_OPS=1 asks for the CUDA extension, and {LIBRARY} is not there or did not '
            'load. Build it with `python -m segkit.ops.build_ext`, or unset SEGKIT_CUDA_OPS.'
        )
    return HAS_CUDA_OPS


load()
