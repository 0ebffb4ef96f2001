"""Heads that read several of the backbone's maps, each at its own size."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from .decode_head import BaseDecodeHead


class SeveralMapsHead(BaseDecodeHead):
    """Base class.

    Args:
        in_channels, in_index: lists of one length, the finest map first; or a number each, for a
            head over a single map.
    """

    def __init__(self, **kwargs: Any) -> None:
        several = isinstance(kwargs.get('in_channels'), Sequence)
        kwargs.setdefault('input_transform', 'multiple_select' if several else None)
        super().__init__(**kwargs)

    @property
    def widths(self) -> list[int]:
        """Channels of each map."""
        widths = self.in_channels
        return [widths] if isinstance(widths, int) else list(widths)

    def _maps(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The chosen maps, (N, widths[i], hi, wi) each."""
        chosen = self._transform_inputs(inputs)
        return [chosen] if isinstance(chosen, Tensor) else list(chosen)
