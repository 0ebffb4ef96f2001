"""What a Runner asks of a model, whatever the network: steps of training, validation and testing.

The same calls as mmengine's BaseModel, so that mmengine's loops, its DDP wrapper and its hooks work
with it. Written here because importing ``mmengine.model`` brings FSDP, ZeRO and sympy along: half
of what a process takes to its first prediction.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.compat import counts_as
from segkit.registry import build_ours

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


@counts_as('BaseModel')
class BaseSegmentor(nn.Module):
    """A data preprocessor, ``forward(inputs, data_samples, mode)`` of a subclass, and the steps.

    Args:
        data_preprocessor: a module or its config, SegDataPreProcessor by default; called as
            ``data_preprocessor(data, training)`` with what the loader collated, it returns the
            arguments of ``forward`` but ``mode``, as a dict or in their order.
        init_cfg: mmengine's initialisers; the parts' own come after them, 'Pretrained' after all.
    """

    def __init__(
        self,
        data_preprocessor: Mapping[str, Any] | nn.Module | None = None,
        init_cfg: Mapping | Sequence[Mapping] | None = None,
    ) -> None:
        super().__init__()
        self.data_preprocessor = build_part(data_preprocessor or {'type': 'SegDataPreProcessor'})
        self.init_cfg = init_cfg

    def init_weights(self) -> None:
        """`init_cfg` over all layers, then what each part does by itself, then whole weights."""
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []
        self._initialise([cfg for cfg in cfgs if cfg['type'] != 'Pretrained'])
        for part in self.children():
            for module in part if isinstance(part, nn.ModuleList) else [part]:
                init_weights = getattr(module, 'init_weights', None)
                if init_weights is not None:
                    init_weights()
        self._initialise([cfg for cfg in cfgs if cfg['type'] == 'Pretrained'])

    def _initialise(self, cfgs: list[Mapping]) -> None:
        if cfgs:
            from mmengine.model import initialize

            initialize(self, cfgs)

    def train_step(self, data: Any, optim_wrapper: 'OptimWrapper') -> dict[str, Tensor]:
        """Forward, backward and update; returns what ``parse_losses`` gives to log."""
        with optim_wrapper.optim_context(self):
            losses = self._run_forward(self.data_preprocessor(data, True), 'loss')
        loss, to_log = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return to_log

    def val_step(self, data: Any) -> list:
        """Predictions for a collated batch."""
        return self._run_forward(self.data_preprocessor(data, False), 'predict')

    test_step = val_step

    def _run_forward(self, data: Mapping[str, Any] | Sequence, mode: str) -> Any:
        return self(**data, mode=mode) if isinstance(data, Mapping) else self(*data, mode=mode)

    def parse_losses(
        self, losses: Mapping[str, Tensor | Sequence[Tensor]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Means of all terms; their sum over the names with 'loss' in them is what is minimised.

        Returns:
            The sum, and all of them to log with the sum first, under 'loss'.
        """
        terms = {name: _mean(name, value) for name, value in losses.items()}
        total = torch.as_tensor(sum(term for name, term in terms.items() if 'loss' in name))
        return total, {'loss': total, **terms}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'BaseSegmentor':
        """``to``, ``cuda`` and their kind. mmengine's own preprocessors have no tensor that would
        move with the network, and have to be told where it went."""
        super()._apply(fn, recurse)
        preprocessor: Any = self.data_preprocessor
        if hasattr(preprocessor, '_device'):
            preprocessor._device = next(self.parameters()).device
        return self


def build_part(part: Mapping[str, Any] | nn.Module) -> Any:
    """The part itself, or the one a config stands for."""
    return part if isinstance(part, nn.Module) else build_ours(part)


def _mean(name: str, value: Tensor | Sequence[Tensor]) -> Tensor:
    if isinstance(value, Tensor):
        return value.mean()
    if isinstance(value, Sequence) and all(isinstance(part, Tensor) for part in value):
        return torch.as_tensor(sum(part.mean() for part in value))
    raise TypeError(f'{name} is a {type(value).__name__}; return a tensor or a list of tensors.')
