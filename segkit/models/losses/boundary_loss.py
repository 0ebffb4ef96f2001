"""Cross-entropy of edges against the rest, both of one weight (arXiv:2206.02066, section 3.4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from segkit.models.layers import at_least_float32

from .head_loss import HeadLoss, of_pixels
from .reduction import weight_reduce_loss
from .stray_labels import comparable, labelled


class BoundaryLoss(HeadLoss):
    """For a head with one channel: pixels of label 1 weigh the share of those of label 0 in the
    batch, and the other way round. The mean is over all pixels, ignored ones too.
    """

    one_channel = use_sigmoid = True

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_boundary') -> None:
        super().__init__(loss_weight, loss_name)

    def forward(
        self,
        bd_pre: Tensor,
        bd_gt: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Loss of logits (N, 1, ...) of edges and labels (N, ...) of 0, 1 or ``ignore_index``."""
        if bd_gt.shape == bd_pre.shape:
            bd_gt = bd_gt.squeeze(1)
        self.check_shapes(bd_pre, bd_gt, weight)
        pred, label = at_least_float32(bd_pre.squeeze(1)), comparable(bd_gt).contiguous()
        valid = labelled(label, ignore_index)
        edge, rest = (label == 1) & valid, (label == 0) & valid
        edges, others = edge.sum(), rest.sum()
        share = edges / (edges + others).clamp(min=1)
        balance = torch.where(edge, 1 - share, 0.0) + torch.where(rest, share, 0.0)
        loss = F.binary_cross_entropy_with_logits(pred, edge.to(pred), reduction='none')
        loss = loss * balance.to(pred)
        reduction = reduction_override or self.reduction
        weight = None if weight is None else of_pixels(weight, label)
        return self.loss_weight * weight_reduce_loss(loss, weight, reduction, avg_factor)
