"""What is exported: one tensor in, one tensor out, no config, no data samples.

Legend: image (1, C, H, W) float32, RGB. With ``normalize`` its values are 0 to 255 and mean and
std are in the graph; without, they are what the data preprocessor gives. Out: logits
(1, K, H, W) float32 at the size of the image, with ``grid`` (1, K, h, w) as the head has them, or
classes (1, H, W) int64 with ``argmax``: those that testing gives, so one channel is cut at the
threshold of its head.
"""

from typing import cast

from torch import Tensor, nn

from segkit.models.decode_heads import BaseDecodeHead
from segkit.models.layers import resize
from segkit.models.segmentors import EncoderDecoder


class ExportedNetwork(nn.Module):
    """Backbone, decode head and the resize to the image, as one function of a tensor.

    The auxiliary head serves training alone and stays out. A network tested by sliding windows is
    exported as the network each window goes through.
    """

    def __init__(
        self,
        model: nn.Module,
        normalize: bool = False,
        argmax: bool = False,
        grid: bool = False,
    ) -> None:
        super().__init__()
        parts = cast(EncoderDecoder, model)  # or what has its parts
        self.backbone: nn.Module = parts.backbone
        self.decode_head: BaseDecodeHead = parts.decode_head
        self.neck = getattr(model, 'neck', None) or nn.Identity()
        self.normalize, self.argmax, self.grid = normalize, argmax, grid
        self.mean: Tensor | None  # buffers: both there or neither
        self.std: Tensor | None
        mean, std = (getattr(parts.data_preprocessor, name, None) for name in ('mean', 'std'))
        self.register_buffer('mean', None if mean is None else mean[None].clone())
        self.register_buffer('std', None if std is None else std[None].clone())

    def forward(self, image: Tensor) -> Tensor:
        if self.normalize:
            image = self.normalised(image)
        logits = self.decode_head(self.neck(self.backbone(image)))
        if self.grid:
            logits = logits[0] if isinstance(logits, tuple | list) else logits
            return logits.float()
        size, align_corners = (image.shape[2], image.shape[3]), self.decode_head.align_corners
        logits = resize(logits, size, mode='bilinear', align_corners=align_corners)
        return self.classes(logits) if self.argmax else logits.float()

    def classes(self, logits: Tensor) -> Tensor:
        """(1, K, H, W) -> (1, H, W) int64."""
        if logits.shape[1] > 1:
            return logits.argmax(dim=1)
        # Binary: an argmax over one channel would always say 0.
        return (logits[:, 0].sigmoid() > self.decode_head.threshold).long()

    def normalised(self, image: Tensor) -> Tensor:
        """Grey levels to what the network was trained on; unchanged where that is the same."""
        if self.mean is None or self.std is None:
            return image
        return (image - self.mean) / self.std
