"""Stochastic depth (arXiv:1603.09382): in training a branch is left out for some pictures."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zero with probability ``rate`` for each picture (N, ...), else the branch over 1 - rate."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(x.shape[0], *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * kept / (1 - self.rate)

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3f}'
