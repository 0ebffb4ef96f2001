"""Mixed precision that works on CPU and CUDA, in bf16 without a scaler or fp16 with one.

mmengine's ``AmpOptimWrapper`` asserts CUDA, calls the deprecated ``torch.cuda.amp.GradScaler``, and
scales bf16 losses, which have the exponent range of float32 and need none.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from segkit.compat import clip_gradients
from segkit.engine.model_setup import DEVICE
from segkit.errors import UserError
from segkit.registry import OPTIM_WRAPPERS

_DTYPES = dict(
    bf16=torch.bfloat16, bfloat16=torch.bfloat16, fp16=torch.float16, float16=torch.float16
)


def choose_amp_dtype(dtype: str | None = None) -> str:
    """'bfloat16' where the device computes in it, else 'float16'; a named one is kept."""
    if dtype is not None and dtype not in _DTYPES:
        raise UserError(f'optim_wrapper.dtype={dtype!r} is unknown: use one of {sorted(_DTYPES)}')
    if dtype is not None:
        return str(_DTYPES[dtype]).removeprefix('torch.')
    if torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False):
        return 'float16'
    return 'bfloat16'


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """``OptimWrapper`` whose forward runs under autocast.

    Args:
        dtype: 'bf16'/'bfloat16', 'fp16'/'float16', or None to choose by the device.
        loss_scale: 'dynamic', a fixed scale, or a dict of ``torch.amp.GradScaler`` arguments.
            Only fp16 uses it.
        **kwargs: as for ``OptimWrapper`` (optimizer, accumulative_counts, clip_grad).
    """

    def __init__(
        self, dtype: str | None = None, loss_scale: str | float | dict = 'dynamic', **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        self.device_type = torch.device(DEVICE).type
        self.cast_dtype = _DTYPES[choose_amp_dtype(dtype)]
        self.loss_scaler = self._build_scaler(loss_scale)

    def _build_scaler(self, loss_scale: str | float | dict) -> torch.amp.GradScaler:
        options: dict[str, Any] = dict(enabled=self.cast_dtype is torch.float16)
        if isinstance(loss_scale, dict):
            options.update(loss_scale)
        elif loss_scale != 'dynamic':
            # A growth interval no run reaches keeps the scale where the config put it.
            options.update(init_scale=float(loss_scale), growth_interval=2**31 - 1)
        return torch.amp.GradScaler(self.device_type, **options)

    def backward(self, loss: torch.Tensor, **kwargs: object) -> None:
        super().backward(self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: object) -> None:
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            clip_gradients(self)
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict:
        return dict(super().state_dict(), loss_scaler=self.loss_scaler.state_dict())

    def load_state_dict(self, state_dict: dict) -> None:
        state = dict(state_dict)
        scaler = state.pop('loss_scaler', None)
        if scaler:
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(self.device_type, self.cast_dtype):
            yield
