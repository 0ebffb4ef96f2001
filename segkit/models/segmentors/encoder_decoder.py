"""The segmentor: backbone, optional neck, decode head, and auxiliary heads while training.

Legend: inputs (N, C, H, W) float, normalised and padded; K classes.

A prediction is a row of steps that may each be replaced, in a subclass or on the model itself:

    predict -> inference -> whole_inference or slide_inference -> encode_decode -> extract_feat,
    the head's predict -> predict_by_feat; then postprocess_result

Between these, logits stay small and are resized and compared class by class; a step of yours, and
a call from outside, has them as tensors at the input's size (segkit/models/inference/logits.py).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.errors import UserError
from segkit.old_names import older_call
from segkit.structures import SegDataSample

from ..inference.logits import (
    as_deferred,
    asks_for,
    joined,
    next_step,
    outside,
    run_shrinking,
    step,
    written_out,
)
from ..inference.sliding_window import slide_settings, window_boxes
from ..inference.views import each_view, merge_views
from ..layers import is_replaced
from .base import BaseSegmentor, build_part

if TYPE_CHECKING:
    from ..decode_heads import BaseDecodeHead

Config = Mapping[str, Any]


class EncoderDecoder(BaseSegmentor):
    """Encoder and decoder of a segmentation network; see the legend above.

    Args:
        pretrained: weights of the backbone; the same as `backbone.pretrained`.
        auxiliary_head: a head's config, or a list of them; used for the loss only.
        test_cfg: ``mode='whole'``, or ``mode='slide'`` with `crop_size` and `stride` (H, W).
            `batch_windows`: windows in one forward pass (1). `memory_budget`: MiB that full-size
            maps may take beside the network (1024). `keep_logits`: fill `seg_logits` (False).
            `keep_confidence`, `keep_probabilities`: fill these. `unknown_below`: pixels whose class
            has a lower probability are 255, which is no class.
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
        self._init_decode_head(decode_head)
        self._init_auxiliary_head(auxiliary_head)
        self.train_cfg: Config = {} if train_cfg is None else train_cfg
        self.test_cfg: Config = {'mode': 'whole'} if test_cfg is None else test_cfg
        # How many windows or images fitted the device together once it had run out of memory.
        self.at_once: dict[str, int] = {}
        # Set by inference.fuse.speed_up; they concern testing alone.
        self.channels_last = False
        self.autocast_dtype: torch.dtype | None = None
        self.weights_dtype: torch.dtype | None = None

    @property
    def memory_format(self) -> torch.memory_format:
        """How its input is laid out; kept as a flag, since torch's name for it is not pickled."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def _init_decode_head(self, decode_head: Config) -> None:
        self.decode_head: BaseDecodeHead = build_part(decode_head)
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels
        if hasattr(self.data_preprocessor, 'serve'):
            ignored = getattr(self.decode_head, 'ignore_index', 255)
            self.data_preprocessor.serve(self.num_classes, ignored)

    def _init_auxiliary_head(self, auxiliary_head: Config | Sequence[Config] | None) -> None:
        if isinstance(auxiliary_head, Sequence):
            heads = (build_part(cfg) for cfg in auxiliary_head)
            self.auxiliary_head: nn.Module = nn.ModuleList(heads)
        elif auxiliary_head is not None:
            self.auxiliary_head = build_part(auxiliary_head)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Feature maps of the backbone, through the neck if there is one."""
        maps = self.backbone(self._like_weights(inputs))
        return self.neck(maps) if self.with_neck else maps

    def _forward(
        self, inputs: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> Tensor:
        """The decode head's raw answer, (N, K, H/8, W/8)."""
        return self.decode_head(self.extract_feat(inputs))

    def loss(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Losses and accuracies of the decode head ('decode.') and the auxiliary ones ('aux.', or
        'aux_0.', 'aux_1.', ... if there is a list of them)."""
        if is_replaced(self, EncoderDecoder, 'forward_train'):  # of 0.x
            return _trained(self, self.forward_train, inputs, data_samples)
        return self._losses(inputs, data_samples)

    def _losses(self, inputs: Tensor, data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        maps = self.extract_feat(inputs)
        losses = _trained(self, self._decode_head_forward_train, maps, data_samples)
        if self.with_auxiliary_head:
            losses |= _trained(self, self._auxiliary_head_forward_train, maps, data_samples)
        return losses

    forward_train = older_call('segmentor_forward_train')
    simple_test = older_call('simple_test')
    aug_test = older_call('simple_test')
    forward_dummy = older_call('forward_dummy')

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name in {'simple_test', 'aug_test', 'forward_dummy'} & set(vars(cls)):
            warnings.warn(
                f'{cls.__name__}.{name} is of mmsegmentation 0.x and nobody calls it here: '
                'override predict, encode_decode or postprocess_result.',
                stacklevel=2,
            )

    def _decode_head_forward_train(
        self,
        inputs: Sequence[Tensor],
        data_samples: Sequence[SegDataSample],
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The decode head's losses of the feature maps; with ``labels`` called as in 0.x."""
        if labels is not None:
            data_samples = older_call('samples_of')(data_samples, labels)
        losses = self.decode_head.loss(inputs, data_samples, self.train_cfg)
        return {f'decode.{name}': value for name, value in losses.items()}

    def _auxiliary_head_forward_train(
        self,
        inputs: Sequence[Tensor],
        data_samples: Sequence[SegDataSample],
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The auxiliary heads' losses of the feature maps; with ``labels`` called as in 0.x."""
        if labels is not None:
            data_samples = older_call('samples_of')(data_samples, labels)
        several = issubclass(type(self.auxiliary_head), nn.ModuleList)
        heads: Any = self.auxiliary_head if several else [self.auxiliary_head]
        losses = {}
        for i, head in enumerate(heads):
            for name, value in head.loss(inputs, data_samples, self.train_cfg).items():
                losses[f'aux_{i}.{name}' if several else f'aux.{name}'] = value
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
        samples = list(data_samples or [SegDataSample() for _ in inputs])
        if isinstance(inputs, Tensor):
            return self._predict_batch(inputs, samples)
        results = []
        for image, sample in zip(inputs, samples):
            if isinstance(image, Tensor):  # alone, to get what it would get alone
                results += self._predict_batch(image[None], [sample])
                continue
            run = partial(next_step, self.inference)
            views = each_view(run, image, sample.metainfo, self.align_corners)
            mean = merge_views(views, self._memory_budget())
            results += next_step(self.postprocess_result, mean, [sample])
        return results

    def _predict_batch(self, inputs: Tensor, samples: list[SegDataSample]) -> list[SegDataSample]:
        size = tuple(inputs.shape[2:])
        bare = {'ori_shape': size, 'img_shape': size, 'pad_shape': size}
        logits = next_step(self.inference, inputs, [{**bare, **s.metainfo} for s in samples])
        return next_step(self.postprocess_result, logits, samples)

    def _encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        """`encode_decode` as a step of a prediction, which sets precision and type of it."""
        metas = [{**meta, 'img_shape': inputs.shape[2:]} for meta in batch_img_metas]
        maps = self.extract_feat(inputs.contiguous(memory_format=self.memory_format))
        return next_step(self.decode_head.predict, maps, metas, self.test_cfg)

    @outside(_encode_decode)
    def encode_decode(self, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Tensor:
        """Logits (N, K, H, W) at the size of ``inputs``."""
        return written_out(self._as_set(self._encode_decode, inputs, batch_img_metas))

    def _as_set(self, method: Callable, inputs: Tensor, batch_img_metas: Sequence[Config]) -> Any:
        """What runs the network, whoever wrote it, as `speed_up` set it: under its precision, of
        inputs of the weights' type."""
        with self.precision(inputs):
            return next_step(method, self._like_weights(inputs), batch_img_metas)

    def _like_weights(self, inputs: Tensor) -> Tensor:
        return inputs if self.weights_dtype is None else inputs.to(self.weights_dtype)

    def precision(self, inputs: Tensor) -> AbstractContextManager:
        """Autocast as `speed_up` set it; whatever is in force outside if it set none."""
        if self.autocast_dtype is None:
            return nullcontext()
        return torch.autocast(inputs.device.type, self.autocast_dtype)

    @step
    def inference(
        self, inputs: Tensor, batch_img_metas: Sequence[Config], rescale: bool = False
    ) -> Tensor:
        """Logits (N, K, H, W) at the size of ``inputs``, as `test_cfg.mode` says."""
        _refuse_rescale(rescale)
        mode = self.test_cfg.get('mode', 'whole')
        if mode not in ('whole', 'slide'):
            raise UserError(f"model.test_cfg.mode is {mode!r}; choose 'whole' or 'slide'.")
        run = self.slide_inference if mode == 'slide' else self.whole_inference
        return next_step(run, inputs, batch_img_metas)

    @step
    def whole_inference(
        self, inputs: Tensor, batch_img_metas: Sequence[Config], rescale: bool = False
    ) -> Tensor:
        """Logits (N, K, H, W), of all images in one pass or of as many as the device holds."""
        _refuse_rescale(rescale)

        def run(count: int) -> Tensor:
            if count >= len(inputs):
                return self._as_set(self.encode_decode, inputs, batch_img_metas)
            parts = [slice(i, i + count) for i in range(0, len(inputs), count)]
            metas = list(batch_img_metas)
            return joined([self._as_set(self.encode_decode, inputs[p], metas[p]) for p in parts])

        return run_shrinking(run, len(inputs), 'images', self.at_once)

    @step
    def slide_inference(
        self, inputs: Tensor, batch_img_metas: Sequence[Config], rescale: bool = False
    ) -> Tensor:
        """Logits (N, K, H, W), averaged where windows overlap; `test_cfg.batch_windows` of them in
        one pass."""
        _refuse_rescale(rescale)
        size = (inputs.shape[-2], inputs.shape[-1])
        boxes = window_boxes(size, *slide_settings(self.test_cfg))
        windows = [inputs[:, :, y1:y2, x1:x2] for y1, y2, x1, x2 in boxes]
        metas = [{**meta, 'img_shape': windows[0].shape[2:]} for meta in batch_img_metas]

        def run(count: int) -> Tensor:
            groups = [windows[i : i + count] for i in range(0, len(windows), count)]
            batches = [group[0] if len(group) == 1 else torch.cat(group) for group in groups]
            answers = (
                self._as_set(self.encode_decode, b, metas * (len(b) // len(inputs)))
                for b in batches
            )
            return joined(list(answers))

        count = min(self.test_cfg.get('batch_windows', 1), len(windows))
        logits = as_deferred(run_shrinking(run, count, 'windows', self.at_once), self.align_corners)
        return logits.placed(boxes, size)


_OUR_STEPS = (
    EncoderDecoder._decode_head_forward_train,
    EncoderDecoder._auxiliary_head_forward_train,
)


def _trained(
    model: EncoderDecoder,
    method: Callable[..., dict[str, Tensor]],
    maps: object,
    samples: Sequence[SegDataSample],
) -> dict[str, Tensor]:
    """Losses by a step, whose arguments are those of 1.x, or, with the labels, those of 0.x."""
    ours = getattr(method, '__func__', None) in _OUR_STEPS
    if ours or not asks_for('gt_semantic_seg', method):
        return method(maps, samples)
    labels = model.decode_head._labels(samples).long()
    return method(maps, [sample.metainfo for sample in samples], labels)


def _refuse_rescale(rescale: bool) -> None:
    if rescale:
        raise UserError(
            'rescale=True is of mmsegmentation 0.x: logits are given at the size of the input, '
            'and postprocess_result resizes them to the original image. Leave it out.'
        )


def _build_backbone(backbone: Config | nn.Module, pretrained: str | None) -> nn.Module:
    """The backbone, with the segmentor's `pretrained` in its config."""
    if pretrained is None or isinstance(backbone, nn.Module):
        return build_part(backbone)
    if backbone.get('pretrained') is not None:
        raise UserError(
            'model: both pretrained and backbone.pretrained are set; name the weights once.'
        )
    try:
        return build_part({**backbone, 'pretrained': pretrained})
    except TypeError as error:
        if "'pretrained'" not in str(error):
            raise
        raise UserError(
            f'model.pretrained: the backbone {backbone["type"]} takes no weights to start from; '
            'set model.pretrained=None, or give the class an argument `pretrained`.'
        ) from None
