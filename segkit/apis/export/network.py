"""What is exported: one tensor in, one tensor out, no config, no data samples.

Legend: image (1, C, H, W) float32, RGB. With ``normalize`` its values are 0 to 255 and mean and
std are in the graph; without, they are what the data preprocessor gives. Out: logits
(1, K, H, W) float32 at the size of the image, or classes (1, H, W) int64 with ``argmax``: those
that testing gives, so one channel is cut at the threshold of its head.
"""

from typing import Any

from torch import Tensor, nn

from segkit.models.layers import resize


class ExportedNetwork(nn.Module):
    """Backbone, decode head and the resize to the image, as one function of a tensor.

    The auxiliary head serves training alone and stays out. A network tested by sliding windows is
    exported as the network each window goes through.
    """

    def __init__(self, model: nn.Module, normalize: bool = False, argmax: bool = False) -> None:
        super().__init__()
        parts: Any = model  # an EncoderDecoder, or what has its parts
        self.backbone: nn.Module = parts.backbone
        self.decode_head: nn.Module = parts.decode_head
        self.neck = getattr(model, 'neck', None) or nn.Identity()
        self.normalize, self.argmax = normalize, argmax
        mean, std = parts.data_preprocessor.mean, parts.data_preprocessor.std
        self.register_buffer('mean', None if mean is None else mean[None].clone())
        self.register_buffer('std', None if std is None else std[None].clone())

    def forward(self, image: Tensor) -> Tensor:
        if self.normalize:
            image = self.normalised(image)
        logits = self.decode_head(self.neck(self.backbone(image)))
        head: Any = self.decode_head
        size, align_corners = (image.shape[2], image.shape[3]), head.align_corners
        logits = resize(logits, size, mode='bilinear', align_corners=align_corners)
        return self.classes(logits) if self.argmax else logits.float()

    def classes(self, logits: Tensor) -> Tensor:
        """(1, K, H, W) -> (1, H, W) int64."""
        if logits.shape[1] > 1:
            return logits.argmax(dim=1)
        head: Any = self.decode_head  # binary: an argmax over one channel would always say 0
        return (logits[:, 0].sigmoid() > head.threshold).long()

    def normalised(self, image: Tensor) -> Tensor:
        """Grey levels to what the network was trained on; unchanged where that is the same."""
        mean: Any = self.mean  # buffers: both there or neither
        return image if mean is None else (image - mean) / self.std
