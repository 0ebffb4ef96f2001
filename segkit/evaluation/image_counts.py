"""Per-image counts, kept only where someone asks for statistics over images.

Three numbers a class and image (intersection, label, prediction) are all that IoU needs: 2,000
images of 150 classes take 7 MB, where their confusion matrices would take 360 MB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_gather, all_reduce
from torch import Tensor


def counts_of_matrix(matrix: Tensor) -> Tensor:
    """(K, K) matrix -> (3, K) int64 on the CPU: intersection, label, prediction."""
    return torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]).cpu()


def gather_rows(rows: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """Stack the rows of all ranks: (N, *shape) int64, the same on every rank.

    Collectives want equal shapes, so each rank pads to the longest and the padding is cut after.
    """
    own = torch.stack(list(rows)) if rows else torch.zeros(0, *shape, dtype=torch.int64)
    length = torch.tensor([len(own)])
    lengths = [int(n) for n in all_gather(length)]
    padded = own.new_zeros(max(lengths), *shape)
    padded[: len(own)] = own
    return torch.cat([part[:n].cpu() for part, n in zip(all_gather(padded), lengths)])


def sum_over_ranks(value: int) -> int:
    """An integer summed over all ranks."""
    total = torch.tensor([value])
    all_reduce(total)
    return int(total)
