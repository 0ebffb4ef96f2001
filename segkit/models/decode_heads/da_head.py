"""Dual attention head (arXiv:1809.02983, section 3).

Two branches look at the same map: the position attention (PAM) lets every pixel attend to every
pixel, the channel attention (CAM) every channel to every channel. Their sum is classified. In
training each branch has a classifier of its own too, which is not evaluated in testing.

Legend: x (N, C, H, W); L = H * W pixels.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .decode_head import BaseDecodeHead, Config
from .pixel_attention import pixel_attention


class Scale(nn.Module):
    """A learnable factor (a scalar named ``scale`` in the published checkpoints)."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` times the factor."""
        return x * self.scale


class PAM(nn.Module):
    """Position attention: softmax over pixels of <query, key>, without the usual 1 / sqrt(d).

    ``gamma`` starts at 0: the branch begins as the identity.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.key_project = nn.Conv2d(in_channels, channels, 1)
        self.query_project = nn.Conv2d(in_channels, channels, 1)
        self.value_project = nn.Conv2d(in_channels, in_channels, 1)
        self.gamma = Scale(0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        projections = self.query_project, self.key_project, self.value_project
        query, key, value = (p(x).flatten(2) for p in projections)
        # x first: the sum takes its layout, also where a fused kernel gives channels-last context.
        return x + self.gamma(pixel_attention(query, key, value).reshape(x.shape))


class CAM(nn.Module):
    """Channel attention over the Gram matrix E = X X^T (C, C), as softmax(max(E) - E).

    The sign is the authors': a channel attends to those it resembles *least*.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale(0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        flat = x.flatten(2)
        with torch.autocast(x.device.type, enabled=False):
            # Sums over all pixels: half precision would round away what tells channels apart.
            exact = flat.to(torch.promote_types(flat.dtype, torch.float32))
            energy = exact @ exact.transpose(1, 2)
            attention = (energy.amax(dim=-1, keepdim=True) - energy).softmax(dim=-1)
        return self.gamma((attention.to(flat.dtype) @ flat).reshape(x.shape)) + x


class DAHead(BaseDecodeHead):
    """Position and channel attention, fused by a sum.

    Args:
        pam_channels: Channels of the position attention's queries and keys.
    """

    def __init__(self, pam_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pam_channels = pam_channels
        self.pam_in_conv = self._conv(self.in_channels, self.channels, 3, padding=1)
        self.pam = PAM(self.channels, pam_channels)
        self.pam_out_conv = self._conv(self.channels, self.channels, 3, padding=1)
        self.pam_conv_seg = nn.Conv2d(self.channels, self.out_channels, kernel_size=1)
        self.cam_in_conv = self._conv(self.in_channels, self.channels, 3, padding=1)
        self.cam = CAM()
        self.cam_out_conv = self._conv(self.channels, self.channels, 3, padding=1)
        self.cam_conv_seg = nn.Conv2d(self.channels, self.out_channels, kernel_size=1)

    def _branches(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Features of the position and of the channel branch, (N, channels, h, w) each."""
        x = self._transform_inputs(inputs)
        pam = self.pam_out_conv(self.pam(self.pam_in_conv(x)))
        cam = self.cam_out_conv(self.cam(self.cam_in_conv(x)))
        return pam, cam

    def _own_logits(self, feat: Tensor, classifier: nn.Module) -> Tensor:
        return classifier(feat if self.dropout is None else self.dropout(feat))

    def forward_all(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the fused, the position and the channel branch, each (N, K, h, w)."""
        pam, cam = self._branches(inputs)
        pam_out = self._own_logits(pam, self.pam_conv_seg)
        cam_out = self._own_logits(cam, self.cam_conv_seg)
        return self.cls_seg(pam + cam), pam_out, cam_out

    def forward(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """The fused logits (N, K, h, w); in training mode all three, as ``forward_all``."""
        if self.training:
            return self.forward_all(inputs)
        pam, cam = self._branches(inputs)
        return self.cls_seg(pam + cam)

    def loss(
        self,
        inputs: Sequence[Tensor],
        batch_data_samples: Sequence,
        train_cfg: Config | None = None,
    ) -> dict[str, Tensor]:
        """Losses of the three outputs, in training and evaluation mode alike."""
        self._count_step()
        # By calling the head where its forward gives all three: that is what gets compiled.
        logits = self(inputs) if self.training else self.forward_all(inputs)
        return self.loss_by_feat(logits, batch_data_samples)

    def loss_by_feat(
        self, seg_logits: Tensor | Sequence[Tensor], batch_data_samples: Sequence
    ) -> dict[str, Tensor]:
        """The base losses of each output, under 'pam_cam.', 'pam.' and 'cam.'; of the fused logits
        alone, which are what the head gives in evaluation mode, under 'pam_cam.'."""
        label = self._labels(batch_data_samples)
        outputs = [seg_logits] if isinstance(seg_logits, Tensor) else seg_logits
        losses: dict[str, Tensor] = {}
        for prefix, logits in zip(('pam_cam', 'pam', 'cam'), outputs):
            losses |= {f'{prefix}.{name}': v for name, v in self.losses(logits, label).items()}
        return losses
