"""The segmentor: backbone, optional neck, decode head, and auxiliary heads while training.

Legend: inputs (N, C, H, W) float, normalised and padded; K classes.

    mode='tensor'   the decode head's raw answer, (N, K, H/8, W/8)
    mode='loss'     {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', ...}, scalars
    mode='predict'  one SegDataSample an image, pred_sem_seg (1, H0, W0) at the original size

Prediction resizes and compares class by class (segkit/models/inference); the full-size logits come
from ``encode_decode`` and ``inference``, or into the samples with ``test_cfg.keep_logits``.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.registry import MODELS
from segkit.structures import SegDataSample

from ..inference.logits import SlideLogits
from ..inference.predict import postprocess, predict_samples, window_logits
from .base import BaseSegmentor, build_part

if TYPE_CHECKING:
    from ..decode_heads import BaseDecodeHead

Config = Mapping[str, Any]


@MODELS.register_module()
class EncoderDecoder(BaseSegmentor):
    """Encoder and decoder of a segmentation network; see the legend above.

    Args:
        pretrained: weights of the backbone; the same as `backbone.pretrained`.
        auxiliary_head: a head's config, or a list of them; used for the loss only.
        test_cfg: ``mode='whole'``, or ``mode='slide'`` with `crop_size` and `stride` (H, W).
            `batch_windows`: windows in one forward pass (1). `memory_budget`: MiB that full-size
            maps may take beside the network (1024). `keep_logits`: fill `seg_logits` (False).
    """

    def __init__(
        self,
        backbone: Config,
        decode_head: Config,
        neck: Config | None = None,
        auxiliary_head: Config | Sequence[Config] | None = None,
        train_cfg: Config | None = None,
        test_cfg: Config | None = None,
        data_preprocessor: Config | nn.Module | None = None,
        pretrained: str | None = None,
        init_cfg: Config | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.backbone: nn.Module = _build_backbone(backbone, pretrained)
        if neck is not None:
            self.neck: nn.Module = build_part(neck)
        self.decode_head: BaseDecodeHead = build_part(decode_head)
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
        if isinstance(auxiliary_head, Sequence):
            self.auxiliary_head: nn.Module = nn.ModuleList(
                build_part(cfg) for cfg in auxiliary_head
            )
        elif auxiliary_head is not None:
            self.auxiliary_head = build_part(auxiliary_head)
        self.train_cfg: Config = {} if train_cfg is None else train_cfg
        self.test_cfg: Config = {'mode': 'whole'} if test_cfg is None else test_cfg
        # How many windows, images or flips fitted the device together; see forward_parts.
        self.at_once: dict[str, int] = {}
        # Set by inference.fast.speed_up; they concern testing alone.
        self.memory_format = torch.contiguous_format
        self.autocast_dtype: torch.dtype | None = None

    @property
    def with_neck(self) -> bool:
        return hasattr(self, 'neck')

    @property
    def with_auxiliary_head(self) -> bool:
        return hasattr(self, 'auxiliary_head')

    def _auxiliary_heads(self) -> list[nn.Module]:
        if not self.with_auxiliary_head:
            return []
        heads = self.auxiliary_head
        return list(heads) if isinstance(heads, nn.ModuleList) else [heads]

    def forward(
        self,
        inputs: Tensor | Sequence,
        data_samples: Sequence[SegDataSample] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[SegDataSample]:
        """Dispatch on ``mode``; see the legend."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)  # type: ignore[arg-type]  # as the mode has it
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)  # type: ignore[arg-type]  # the same
        raise RuntimeError(f"mode is {mode!r}; choose 'tensor', 'loss' or 'predict'.")

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Feature maps of the backbone, through the neck if there is one."""
        maps = self.backbone(inputs)
        return self.neck(maps) if self.with_neck else maps

    def _forward(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> Tensor:
        return self.decode_head(self.extract_feat(inputs))

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses and accuracies of the decode head ('decode.') and the auxiliary ones ('aux.', or
        'aux_0.', 'aux_1.', ... if there is a list of them)."""
        maps = self.extract_feat(inputs)
        heads: dict[str, Any] = {'decode': self.decode_head}
        if self.with_auxiliary_head:
            several = isinstance(self.auxiliary_head, nn.ModuleList)
            for i, head in enumerate(self._auxiliary_heads()):
                heads[f'aux_{i}' if several else 'aux'] = head
        losses = {}
        for prefix, head in heads.items():
            for name, value in head.loss(maps, data_samples, self.train_cfg).items():
                losses[f'{prefix}.{name}'] = value
        return losses

    @torch.no_grad()
    def predict(
        self, inputs: Tensor | Sequence, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Classes at the original size.

        Args:
            inputs: (N, C, H, W), a list of (C, H, W) of any sizes, or for multi-scale testing what
                the data preprocessor makes of the views of each image.
        """
        return predict_samples(self, inputs, data_samples)

    @torch.no_grad()
    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Classes of logits (N, K, H, W) at the input's size: padding cut off, flip undone, resized
        to the original image, argmax (for one channel: sigmoid above the head's threshold)."""
        return postprocess(self, seg_logits, data_samples)

    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        """Logits (N, K, H, W) at the size of ``inputs``."""
        metas = [{**meta, 'img_shape': inputs.shape[2:]} for meta in batch_img_metas]
        with self.precision(inputs):
            maps = self.extract_feat(inputs.contiguous(memory_format=self.memory_format))
            return self.decode_head.predict(maps, metas, self.test_cfg)

    def precision(self, inputs: Tensor) -> AbstractContextManager:
        """Autocast as `speed_up` set it; whatever is in force outside if it set none."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(inputs.device.type, self.autocast_dtype)

    def inference(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        """Logits (N, K, H, W) at the size of ``inputs``, as `test_cfg.mode` says."""
        if self.test_cfg.get('mode', 'whole') == 'slide':
            return self.slide_inference(inputs, batch_img_metas)
        return self.whole_inference(inputs, batch_img_metas)

    def whole_inference(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        return self.encode_decode(inputs, batch_img_metas)

    def slide_inference(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        """Logits (N, K, H, W), averaged where windows overlap."""
        images: list[SlideLogits] = window_logits(self, inputs, batch_img_metas)
        return torch.cat([logits.at_input(0, logits.num_channels) for logits in images])


def _build_backbone(backbone: Config | nn.Module, pretrained: str | None) -> nn.Module:
    """The backbone, with the segmentor's `pretrained` in its config."""
    if pretrained is None or isinstance(backbone, nn.Module):
        return build_part(backbone)
    if backbone.get('pretrained') is not None:
        raise ValueError(
            'model: both pretrained and backbone.pretrained are set; name the weights once.'
        )
    try:
        return build_part({**backbone, 'pretrained': pretrained})
    except TypeError as error:
        if "'pretrained'" not in str(error):
            raise
        raise ValueError(
            f'model.pretrained: the backbone {backbone["type"]} takes no weights to start from; '
            'set model.pretrained=None, or give the class an argument `pretrained`.'
        ) from None
