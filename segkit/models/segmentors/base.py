"""What a Runner asks of a model, whatever the network: steps of training, validation and testing.

    mode='tensor'   ``_forward``: what the network answers
    mode='loss'     ``loss``: {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', ...}, scalars
    mode='predict'  ``predict``: one SegDataSample an image, pred_sem_seg (1, H0, W0) at the
                    original size

The same calls as mmengine's BaseModel, so that mmengine's loops, its DDP wrapper and its hooks work
with it. Written here because importing ``mmengine.model`` brings FSDP, ZeRO and sympy along: half
of what a process takes to its first prediction.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from segkit.compat import CountsAsModel
from segkit.old_names import older_call
from segkit.registry import build_ours
from segkit.structures import PixelData, SegDataSample

from ..inference.certainty import UNKNOWN, confidence, probabilities, unknown_below
from ..inference.logits import Deferred, ImageLogits, argmax_classes, as_deferred, outside

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapper


DEFAULT_BUDGET_MIB = 1024
ASKED_OF_CERTAINTY = {'unknown_below', 'keep_confidence', 'keep_probabilities'}  # of test_cfg


def _of_meta(key: str) -> property:
    """`CLASSES` and `PALETTE` of 0.x, which stand in ``dataset_meta``."""

    def get(model: object) -> object:
        return (getattr(model, 'dataset_meta', None) or {}).get(key)

    def put(model: Any, value: object) -> None:
        model.dataset_meta = {**(getattr(model, 'dataset_meta', None) or {}), key: value}

    return property(get, put)


def _has(part: str) -> property:
    """Whether a model has the part."""
    return property(lambda model: getattr(model, part, None) is not None)


class BaseSegmentor(CountsAsModel, nn.Module):
    """A data preprocessor and the steps; a subclass has ``loss``, ``predict`` and ``_forward``.

    Args:
        data_preprocessor: a module or its config, SegDataPreProcessor by default; called as
            ``data_preprocessor(data, training)`` with what the loader collated, it returns the
            arguments of ``forward`` but ``mode``, as a dict or in their order.
        init_cfg: mmengine's initialisers; the parts' own come after them, 'Pretrained' after all.
    """

    loss: Callable[..., dict[str, Tensor]]
    predict: Callable[..., list[SegDataSample]]
    _forward: Callable[..., Tensor]
    decode_head: object
    align_corners: bool
    CLASSES: object = _of_meta('classes')
    PALETTE: object = _of_meta('palette')

    def __init__(
        self,
        data_preprocessor: Mapping[str, object] | nn.Module | None = None,
        init_cfg: Mapping | Sequence[Mapping] | None = None,
    ) -> None:
        super().__init__()
        self.data_preprocessor = build_part(data_preprocessor or {'type': 'SegDataPreProcessor'})
        self.init_cfg = init_cfg

    with_neck, with_auxiliary_head = _has('neck'), _has('auxiliary_head')
    with_decode_head = _has('decode_head')

    def forward(
        self,
        inputs: Tensor | Sequence = (),
        data_samples: Sequence[SegDataSample] | None = None,
        mode: str = 'tensor',
        **older: Any,
    ) -> Tensor | dict[str, Tensor] | list[SegDataSample]:
        """What ``mode`` says; see the legend above. ``older`` is what 0.x called `img`,
        `img_metas`, `gt_semantic_seg`, `return_loss` and `rescale`."""
        if older:
            given = {'img': inputs, 'img_metas': data_samples, **older}
            return older_call('forward')(self, **given)
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self._forward(inputs, data_samples)
        raise RuntimeError(f"mode is {mode!r}; choose 'tensor', 'loss' or 'predict'.")

    def init_weights(self) -> None:
        """`init_cfg` over all layers, then what each part does by itself, then whole weights."""
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, Mapping) else self.init_cfg or []
        self._initialise([cfg for cfg in cfgs if cfg['type'] != 'Pretrained'])
        for part in self.children():
            for module in part if isinstance(part, nn.ModuleList) else [part]:
                init_weights = getattr(module, 'init_weights', None)
                if init_weights is not None:
                    init_weights()
        self._initialise([cfg for cfg in cfgs if cfg['type'] == 'Pretrained'])

    def _initialise(self, cfgs: list[Mapping]) -> None:
        if cfgs:
            from segkit.weights import apply_init_cfg

            apply_init_cfg(self, cfgs)

    def train_step(self, data: object, optim_wrapper: 'OptimWrapper') -> dict[str, Tensor]:
        """Forward, backward and update; returns what ``parse_losses`` gives to log."""
        if isinstance(data, Mapping) and 'img_metas' in data:
            return older_call('step')(self, data)
        with optim_wrapper.optim_context(self):
            losses = self._run_forward(self.data_preprocessor(data, True), 'loss')
        loss, to_log = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return to_log

    def val_step(self, data: object, optimizer: None = None) -> list:
        """Predictions for a collated batch."""
        if isinstance(data, Mapping) and 'img_metas' in data:
            return older_call('step')(self, data)
        return self._run_forward(self.data_preprocessor(data, False), 'predict')

    test_step = val_step

    def _run_forward(self, data: Mapping[str, object] | Sequence, mode: str) -> Any:
        return self(**data, mode=mode) if isinstance(data, Mapping) else self(*data, mode=mode)

    def parse_losses(
        self, losses: Mapping[str, Tensor | Sequence[Tensor]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Means of all terms; their sum over the names with 'loss' in them is what is minimised.

        Returns:
            The sum, and all of them to log with the sum first, under 'loss'.
        """
        terms = {name: _mean(name, value) for name, value in losses.items()}
        total = torch.as_tensor(sum(term for name, term in terms.items() if 'loss' in name))
        return total, {'loss': total, **terms}

    @torch.no_grad()
    def _results(
        self,
        seg_logits: Tensor | Deferred,
        data_samples: Sequence[SegDataSample] | None = None,
        called: bool = False,
    ) -> list[SegDataSample]:
        """`postprocess_result`; as a step of a prediction, not ``called`` from outside, its results
        hold on to small logits alone."""
        logits = as_deferred(seg_logits, self.align_corners)
        samples = data_samples or [SegDataSample() for _ in range(len(logits))]
        threshold: Any = getattr(self.decode_head, 'threshold', None)  # of a binary head
        test_cfg = getattr(self, 'test_cfg', None) or {}
        for image, sample in zip(logits.images([s.metainfo for s in samples]), samples):
            if called or image.is_small:
                sample.logits_later(image.scores)
            if test_cfg.get('keep_logits'):
                scores = image.scores()
                sample.seg_logits = PixelData(data=scores)
                classes = argmax_classes(scores, threshold)
            else:
                classes = image.classes(threshold, self._memory_budget())
            if not ASKED_OF_CERTAINTY.isdisjoint(test_cfg):
                self._keep_certainty(image, sample, classes, test_cfg)
            sample.pred_sem_seg = PixelData(data=classes)
        return list(samples)

    @outside(_results)
    def postprocess_result(
        self, seg_logits: Tensor, data_samples: Sequence[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Classes of logits (N, K, H, W) at the input's size: padding cut off, flip undone, resized
        to the original image, argmax (for one channel: sigmoid above the head's threshold). Of
        several views these are the mean probabilities, (1, K, H, W) at the original size.

        A result's `seg_logits` are computed when they are asked for.
        """
        return self._results(seg_logits, data_samples, called=True)

    def _keep_certainty(
        self,
        image: ImageLogits,
        sample: SegDataSample,
        classes: Tensor,
        test_cfg: Mapping[str, Any],
    ) -> None:
        """What of it ``test_cfg`` asks for; ``classes`` are unknown where the network is unsure."""
        least = unknown_below(test_cfg, max(image.num_channels, 2))
        if least is not None or test_cfg.get('keep_confidence'):
            sure = confidence(image, getattr(self.decode_head, 'threshold', 0.5))
            if test_cfg.get('keep_confidence'):
                sample.confidence = PixelData(data=sure)
            if least is not None:
                classes.masked_fill_(sure < least, UNKNOWN)
                sample.set_metainfo({'unknown_below': least})
        if test_cfg.get('keep_probabilities'):
            sample.probabilities = PixelData(data=probabilities(image))

    def _memory_budget(self) -> int:
        """Bytes that full-size maps may take."""
        test_cfg = getattr(self, 'test_cfg', None) or {}
        return int(test_cfg.get('memory_budget', DEFAULT_BUDGET_MIB) * 2**20)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'BaseSegmentor':
        """``to``, ``cuda`` and their kind. mmengine's own preprocessors have no tensor that would
        move with the network, and have to be told where it went."""
        super()._apply(fn, recurse)
        preprocessor: object = self.data_preprocessor
        if hasattr(preprocessor, '_device'):
            preprocessor._device = next(self.parameters()).device
        return self


def build_part(part: Mapping[str, object] | nn.Module) -> Any:
    """The part itself, or the one a config stands for."""
    return part if isinstance(part, nn.Module) else build_ours(part)


def _mean(name: str, value: Tensor | Sequence[Tensor]) -> Tensor:
    if isinstance(value, Tensor):
        return value.mean()
    if isinstance(value, Sequence) and all(isinstance(part, Tensor) for part in value):
        return torch.as_tensor(sum(part.mean() for part in value))
    raise TypeError(f'{name} is a {type(value).__name__}; return a tensor or a list of tensors.')
