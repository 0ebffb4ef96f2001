"""What torch hands to the two halves of an autograd function."""

from typing import Protocol

from torch import Tensor


class Context(Protocol):
    """Carries from forward to backward; what a function keeps besides stands in a class of its own
    that derives from this one. `torch.autograd.function.FunctionCtx` declares but a part of it."""

    needs_input_grad: tuple[bool, ...]

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]: ...

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...

    def mark_non_differentiable(self, *outputs: Tensor) -> None: ...

    def set_materialize_grads(self, value: bool) -> None: ...
