"""Pyramid pooling (arXiv:1612.01105, section 3.2): averages of a map over cells, mixed.

Legend: x (N, C, h, w); pooled map i (N, channels, s_i, s_i).
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.layers import CellPool, ConvModule


class PyramidPooling(nn.ModuleList):
    """One pooling and one 1x1 convolution for each scale, named by their position.

    Args:
        pool_scales: cells per side of each pooled map.
        mixer: makes the convolution, batch norm and activation of one scale.
    """

    def __init__(self, pool_scales: Sequence[int], mixer: Callable[[], ConvModule]) -> None:
        super().__init__(nn.Sequential(CellPool(scale), mixer()) for scale in pool_scales)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The pooled and mixed maps, at their own sizes."""
        maps = []
        for branch in self:
            steps: Any = branch
            if steps[0].cells == 1:
                refuse_one_picture(steps[1], x)
            maps.append(steps(x))
        return maps


def refuse_one_picture(mixer: ConvModule, x: Tensor) -> None:
    """Batch norm over a 1x1 cell has no variance to go by when there is one image.

    Raises:
        UserError: the convolution's norm would take its statistics from one value a channel.
    """
    norm = mixer.norm
    if isinstance(norm, nn.BatchNorm2d) and norm.training and x.shape[0] == 1:
        raise UserError(
            'Batch norm over a map pooled to 1x1 cannot train on one image. Use a batch_size of at '
            "least 2, or norm_cfg=dict(type='GN', num_groups=32) in the head."
        )
