"""Whether an exported file computes what the network computes."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.errors import UserError

from .network import ExportedNetwork


class Agreement(NamedTuple):
    """One comparison: difference relative to the largest logit, and share of equal classes."""

    size: tuple[int, int]
    difference: float
    same_classes: float

    def good(self, tolerance: float, agreement: float) -> bool:
        return self.difference <= tolerance and self.same_classes >= agreement

    def __str__(self) -> str:
        height, width = self.size
        return (
            f'{height}x{width}: largest relative difference {self.difference:.1e}, '
            f'{100 * self.same_classes:.3f} % of the classes equal'
        )


@torch.no_grad()
def agreements(
    net: ExportedNetwork, exported: Callable[[Tensor], Tensor], images: Iterable[Tensor]
) -> list[Agreement]:
    """Runs both on each image (1, C, H, W)."""
    found = []
    for image in images:
        expected, got = net(image), exported(image)
        if expected.shape != got.shape:
            raise UserError(
                f'The exported network gives {tuple(got.shape)} for an image of '
                f'{tuple(image.shape)}, the network {tuple(expected.shape)}.'
            )
        if expected.is_floating_point():
            difference = float((expected - got).abs().max() / expected.abs().max().clamp(min=1e-12))
            expected, got = net.classes(expected), net.classes(got)
        else:
            difference = 0.0
        same = float((expected == got).float().mean())
        found.append(Agreement((image.shape[2], image.shape[3]), difference, same))
    return found
