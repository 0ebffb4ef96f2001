"""Whether an exported file computes what the network computes.

Both round to float32, in another order. Where that alone moves the logits by more than is allowed
(scores of an attention in the hundreds, say, whose softmax takes their rounding times as many), the
network in float64 tells how far float32 is off in either, and the file may be about as far.
"""

import copy
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from segkit.errors import UserError

from .network import ExportedNetwork

# Times as far from float64 as the network: of two float32 forms, each at its largest, one was up to
# 1.8 times as far as the other; what is exported wrongly is off by thousands of times as much.
AS_FAR = 4


class FromFloat64(NamedTuple):
    """Largest differences from the network in float64, relative to its largest logit."""

    network: float
    file: float


class Agreement(NamedTuple):
    """One comparison: difference relative to the largest logit, and share of equal classes; where
    the difference is more than is allowed, what each is off by from float64."""

    size: tuple[int, int]
    difference: float
    same_classes: float
    from_float64: FromFloat64 | None = None

    def good(self, tolerance: float, agreement: float) -> bool:
        if self.same_classes < agreement:
            return False
        off = self.from_float64
        return self.difference <= tolerance or (
            off is not None and off.file <= AS_FAR * off.network
        )

    def __str__(self) -> str:
        height, width = self.size
        off = self.from_float64
        exactly = '' if off is None else (
            f'; from float64 the file is off by {off.file:.1e}, the network by {off.network:.1e}'
        )  # fmt: skip
        return (
            f'{height}x{width}: largest relative difference {self.difference:.1e}, '
            f'{100 * self.same_classes:.3f} % of the classes equal{exactly}'
        )


@torch.no_grad()
def agreements(
    net: ExportedNetwork,
    exported: Callable[[Tensor], Tensor],
    images: Iterable[Tensor],
    tolerance: float = float('inf'),
) -> list[Agreement]:
    """Runs both on each image (1, C, H, W), and in float64 those that differ by more than the
    tolerance."""
    exact = functools.cache(lambda: copy.deepcopy(net).double())
    found = []
    for image in images:
        expected, got = net(image), exported(image)
        if expected.shape != got.shape:
            raise UserError(
                f'The exported network gives {tuple(got.shape)} for an image of '
                f'{tuple(image.shape)}, the network {tuple(expected.shape)}.'
            )
        difference, from_float64 = 0.0, None
        if expected.is_floating_point():
            difference = _off(got, expected)
            if difference > tolerance:
                from_float64 = _from_float64(exact(), image, expected, got)
            expected, got = net.classes(expected), net.classes(got)
        same = float((expected == got).float().mean())
        size = (image.shape[2], image.shape[3])
        found.append(Agreement(size, difference, same, from_float64))
    return found


def _off(got: Tensor, expected: Tensor) -> float:
    return float((expected - got).abs().max() / expected.abs().max().clamp(min=1e-12))


def _from_float64(
    exact: ExportedNetwork, image: Tensor, expected: Tensor, got: Tensor
) -> FromFloat64 | None:
    try:
        reference = exact(image.double())
    except RuntimeError:  # a module of the user's own that takes float32 alone: not known
        return None
    return FromFloat64(_off(expected, reference), _off(got, reference))
