"""What every decode head shares: choosing its inputs, the classifier, the losses, the prediction.

A head is a plain ``nn.Module``: built from keyword arguments and fed a list of feature maps it
needs no config, no Runner and no segmentor.

Legend: inputs, a list of maps (N, Ci, Hi, Wi); logits (N, K, h, w); label (N, 1, H, W).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from segkit.compat import CountsAsModule
from segkit.errors import UserError
from segkit.models.inference.logits import Logits, next_step, step
from segkit.models.layers import ConvModule, at_least_float32, is_replaced, resize
from segkit.models.losses.stray_labels import BINARY_CURE, LabelCheck, labelled, percent
from segkit.models.ohem_sampler import build_pixel_sampler
from segkit.old_names import older_call

Config = Mapping[str, object]
CROSS_ENTROPY = {'type': 'CrossEntropyLoss', 'use_sigmoid': False, 'loss_weight': 1.0}


class BaseDecodeHead(CountsAsModule, nn.Module):
    """Base class; a head implements ``_forward_feature(inputs)``, or ``forward`` itself.

    Args:
        in_channels: Channels of the chosen input; a list of them with an ``input_transform``.
        channels: Channels before the classifier ``conv_seg``.
        num_classes: K.
        out_channels: Channels of the logits, K by default; 1 for a binary head with a sigmoid.
        threshold: Where a binary head with one channel says 1, 0.3 by default.
        norm_cfg: None, as here by default, means no batch norm, nor any other: convolutions
            then have a bias. Published heads have ``dict(type='SyncBN')``.
        in_index: Which of the backbone's maps, its name if they come as a dict; a list of them
            with an ``input_transform``.
        input_transform: None takes one map; 'resize_concat' resizes the chosen ones to the first
            and concatenates them; 'multiple_select' hands over the list.
        loss_decode: One loss config, or several.
        sampler: Chooses the pixels that enter the loss, e.g. ``dict(type='OHEMPixelSampler')``.
        acc_interval: In training ``acc_seg`` is computed at every so-many-th batch only; 1 as
            published. In evaluation mode it always is.
        init_cfg: As in mmengine; by default the classifier starts normal with std 0.01.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        num_classes: int,
        out_channels: int | None = None,
        threshold: float | None = None,
        dropout_ratio: float = 0.1,
        conv_cfg: Config | None = None,
        norm_cfg: Config | None = None,
        act_cfg: Config | None = {'type': 'ReLU'},  # noqa: B006, read only
        in_index: int | str | Sequence[int | str] = -1,
        input_transform: str | None = None,
        loss_decode: Config | Sequence[Config] = CROSS_ENTROPY,
        ignore_index: int = 255,
        sampler: Config | None = None,
        align_corners: bool = False,
        acc_interval: int = 1,
        init_cfg: Config | Sequence[Config] | None = None,
    ) -> None:
        super().__init__()
        self._init_inputs(in_channels, in_index, input_transform)
        self._init_outputs(num_classes, out_channels, threshold)
        self.channels = channels
        self.dropout_ratio = dropout_ratio
        self.conv_cfg, self.norm_cfg, self.act_cfg = conv_cfg, norm_cfg, act_cfg
        self.ignore_index = ignore_index
        self.align_corners = align_corners
        self.init_cfg = init_cfg
        self.acc_interval, self._steps = acc_interval, 0
        self.label_check = LabelCheck(num_classes, ignore_index)
        self.loss_decode = _build_losses(loss_decode)
        if loss_decode is not CROSS_ENTROPY:  # of a head that only predicts, nobody asks
            self._refuse_losses()
        self.sampler = build_pixel_sampler(sampler, context=self) if sampler else None
        self.conv_seg = nn.Conv2d(channels, self.out_channels, kernel_size=1)
        self.dropout = nn.Dropout2d(dropout_ratio) if dropout_ratio > 0 else None

    def _init_inputs(self, in_channels: Any, in_index: Any, input_transform: str | None) -> None:
        """Integers, or with a transform lists; Any, since that is what is checked here."""
        if input_transform not in (None, 'resize_concat', 'multiple_select'):
            raise UserError(
                f'{type(self).__name__}: input_transform={input_transform!r} is none of None, '
                "'resize_concat', 'multiple_select'."
            )
        lists = [
            isinstance(v, Sequence) and not isinstance(v, str) for v in (in_channels, in_index)
        ]
        if lists != [input_transform is not None] * 2 or (
            input_transform is not None and len(in_channels) != len(in_index)
        ):
            want = 'lists of one length' if input_transform else 'one number each'
            raise UserError(
                f'{type(self).__name__}: with input_transform={input_transform!r}, in_channels and '
                f'in_index must be {want}, got {in_channels!r} and {in_index!r}.'
            )
        self.input_transform, self.in_index = input_transform, in_index
        # Any: a list with 'multiple_select'.
        self.in_channels: int | Any = (
            sum(in_channels) if input_transform == 'resize_concat' else in_channels
        )

    def _init_outputs(
        self, num_classes: int, out_channels: int | None, threshold: float | None
    ) -> None:
        out_channels = num_classes if out_channels is None else out_channels
        if out_channels != num_classes and not (out_channels == 1 and num_classes == 2):
            raise UserError(
                f'{type(self).__name__}: out_channels={out_channels} must equal '
                f'num_classes={num_classes}, or be 1 with two classes (binary).'
            )
        if out_channels == 1 and threshold is None:
            threshold = 0.3
            warnings.warn('threshold is not given for a binary head: 0.3 is used.', stacklevel=4)
        self.num_classes, self.out_channels = num_classes, out_channels
        self.threshold: float | Any = threshold  # None with more channels than one, where none asks

    def _refuse_losses(self) -> None:
        """Losses of one channel cannot compare several; and the softmax of a single channel is 1
        whatever the logit: nothing would be learnt."""
        single = [loss for loss in self._each_loss() if getattr(loss, 'one_channel', False)]
        if self.out_channels > 1 and single:
            raise UserError(
                f'{type(self).__name__}: {type(single[0]).__name__} compares one channel with '
                f'labels of 0 and 1, and the head predicts {self.out_channels}. Set num_classes=2 '
                'and out_channels=1, or take another loss.'
            )
        # Losses that know both kinds say so by ``use_sigmoid``; one that does not passes.
        softmax = [x for x in self._each_loss() if getattr(x, 'use_sigmoid', True) is False]
        if self.out_channels == 1 and softmax:
            cure = getattr(softmax[0], 'binary_cure', BINARY_CURE)
            raise UserError(
                f'{type(self).__name__}: one channel cannot be trained with the softmax of '
                f'{type(softmax[0]).__name__}. For background and one class set num_classes=2 '
                f'and leave out_channels out{cure and f", or set {cure}"}.'
            )

    def extra_repr(self) -> str:
        return (
            f'input_transform={self.input_transform}, ignore_index={self.ignore_index}, '
            f'align_corners={self.align_corners}'
        )

    def init_weights(self) -> None:
        """The classifier's (or ``init_cfg``'s) start; the ConvModules drew theirs when built."""
        if self.init_cfg is None:
            own = getattr(self, 'conv_seg', None)  # exchanged, or taken out
            for layer in own.modules() if own is not None else ():
                if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
                    nn.init.normal_(layer.weight, std=0.01)
                    if layer.bias is not None:
                        nn.init.zeros_(layer.bias)
            return
        from segkit.weights import apply_init_cfg

        apply_init_cfg(self, self.init_cfg)

    def _conv(
        self, in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any
    ) -> ConvModule:
        """A ConvModule of this head's conv, norm and activation."""
        cfgs = {'conv_cfg': self.conv_cfg, 'norm_cfg': self.norm_cfg, 'act_cfg': self.act_cfg}
        return ConvModule(in_channels, out_channels, kernel_size, **{**cfgs, **kwargs})

    def _transform_inputs(self, inputs: Sequence[Tensor]) -> Tensor | Any:
        """The map this head works on; a list of them if it was built with 'multiple_select'.

        Maps are taken from a list by position, from a dict by name; a tensor is the only one.
        """
        indices = [self.in_index] if self.input_transform is None else self.in_index
        chosen = self._chosen(inputs, indices, 'in_index')
        if self.input_transform is None:
            return chosen[0]
        if self.input_transform == 'multiple_select':
            return chosen
        size = chosen[0].shape[2:]
        return torch.cat([self._resize(x, size) for x in chosen], dim=1)

    def _chosen(self, inputs: Any, indices: Sequence[int | str], key: str) -> list[Tensor]:
        """The maps of these positions or names; ``key`` is the argument that gave them."""
        if isinstance(inputs, Tensor):
            maps = dict.fromkeys(indices if len(indices) == 1 else (), inputs)
        else:
            maps = inputs
        try:
            return [maps[i] for i in indices]
        except (IndexError, KeyError, TypeError):  # TypeError: a name for a list
            given = 'one tensor' if isinstance(inputs, Tensor) else f'{len(inputs)} of them'
            given = f'those named {[*inputs]}' if isinstance(inputs, Mapping) else given
            raise UserError(
                f'{type(self).__name__}: {key}={getattr(self, key)!r} cannot be taken from the '
                f'maps it was given, {given}. Give it a list of maps and positions in it as '
                f'{key}, or a dict of maps and their names.'
            ) from None

    def _resize(self, x: Tensor, size: Sequence[int]) -> Tensor:
        return resize(x, size=(size[0], size[1]), mode='bilinear', align_corners=self.align_corners)

    def cls_seg(self, feat: Tensor) -> Tensor:
        """Dropout and classifier: (N, channels, h, w) -> (N, K, h, w)."""
        if self.dropout is not None:
            feat = self.dropout(feat)
        return self.conv_seg(feat)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The features before the classifier, (N, channels, h, w), of the backbone's maps."""
        raise NotImplementedError(f'{type(self).__name__} has no forward of its own.')

    def forward(self, inputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Logits (N, K, h, w) of the backbone's maps; several where a head has several outputs."""
        return self.cls_seg(self._forward_feature(inputs))

    forward_train = older_call('forward_train')
    forward_test = older_call('forward_test')

    def loss(
        self,
        inputs: Sequence[Tensor],
        batch_data_samples: Sequence,
        train_cfg: Config | None = None,
    ) -> dict[str, Tensor]:
        """Losses and accuracy of one batch; keys 'loss_ce' (or as named) and 'acc_seg'."""
        if is_replaced(self, BaseDecodeHead, 'forward_train'):  # of 0.x
            metas = [sample.metainfo for sample in batch_data_samples]
            labels = self._labels(batch_data_samples).long()
            return self.forward_train(inputs, metas, labels, train_cfg)
        self._count_step()
        return self.loss_by_feat(self(inputs), batch_data_samples)

    def _count_step(self) -> None:
        # Not in validation, where ranks may see unequal numbers of batches: in training all of
        # them must log ``acc_seg`` at the same steps.
        self._steps += self.training

    @step
    def predict(
        self,
        inputs: Sequence[Tensor],
        batch_img_metas: Sequence[dict],
        test_cfg: Config | None = None,
    ) -> Tensor:
        """Logits (N, K, H, W) at the size the network was fed (padding included)."""
        logits = self(inputs)
        logits = logits[0] if isinstance(logits, tuple | list) else logits
        return next_step(self.predict_by_feat, logits, batch_img_metas)

    @step
    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: Sequence[dict]) -> Tensor:
        """Resize to the padded input; a sliding window sets img_shape to its crop as torch.Size."""
        meta = batch_img_metas[0]
        size: Any = meta.get('img_shape')
        if not isinstance(size, torch.Size):
            size = meta.get('pad_shape', size)
        return Logits.of(seg_logits, size, self.align_corners)

    def _stack_batch_gt(self, batch_data_samples: Sequence) -> Tensor:
        """Labels of the batch (N, 1, H, W), int64 as torch's losses want them."""
        return self._stacked(batch_data_samples).long()

    def _stacked(self, batch_data_samples: Sequence) -> Tensor:
        """The same in the dtype they came in."""
        bare = [s for s in batch_data_samples if getattr(s, 'gt_sem_seg', None) is None]
        if bare:
            image = bare[0].get('img_path', 'an image')
            raise UserError(
                f'No labels for {image} in a training batch: the train pipeline needs '
                "dict(type='LoadAnnotations') before PackSegInputs."
            )
        labels = [sample.gt_sem_seg.data for sample in batch_data_samples]
        shapes = sorted({tuple(label.shape) for label in labels})
        if len(shapes) > 1:
            raise UserError(
                f'The labels of one batch differ in size: {shapes}. Crop or pad them to one '
                'size, e.g. with size=(H, W) in the data preprocessor.'
            )
        return torch.stack(labels)

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: Sequence) -> dict[str, Tensor]:
        """Losses of logits (N, K, h, w), resized to the labels of the samples."""
        return self.losses(seg_logits, self._labels(batch_data_samples))

    def _labels(self, batch_data_samples: Sequence) -> Tensor:
        """Labels (N, 1, H, W), each a class or ignored; int64 where other code sees them."""
        seen = ('_stack_batch_gt', 'losses')
        own = any(is_replaced(self, BaseDecodeHead, name) for name in seen)
        stack = self._stack_batch_gt if own else self._stacked
        return self.label_check(stack(batch_data_samples), batch_data_samples)

    def _each_loss(self) -> list[Any]:
        """The losses, whether there is one or several."""
        losses = self.loss_decode
        return list(losses) if isinstance(losses, nn.ModuleList) else [losses]

    def losses(self, seg_logit: Tensor, seg_label: Tensor) -> dict[str, Tensor]:
        """Every loss under its name (same names add up), and 'acc_seg', of logits (N, K, h, w) and
        labels (N, 1, H, W).

        By bands from the small logits (N, K, h, w) where a loss can; they are upsampled as a whole
        only if a sampler, or a loss that knows no bands, asks.
        """
        self._refuse_losses()
        seg_logits, size = at_least_float32(seg_logit), seg_label.shape[2:]

        @cache
        def full() -> Tensor:
            return self._resize(seg_logits, size)

        weight = self.sampler.sample(full(), seg_label) if self.sampler is not None else None
        label = seg_label.squeeze(1)
        accurate = not self.training or self._steps % self.acc_interval == 0
        losses: dict[str, Tensor] = {}
        correct = None
        for loss in self._each_loss():
            if weight is None and getattr(loss, 'takes_small_logits', False):
                how = self.ignore_index, self.align_corners, accurate and correct is None
                value, hits = loss.forward_small(seg_logits, label, *how)
                correct = hits if correct is None else correct
            else:
                value = loss(full(), label.long(), weight=weight, ignore_index=self.ignore_index)
            name = loss.loss_name
            losses[name] = losses[name] + value if name in losses else value
        if accurate:
            losses['acc_seg'] = self._accuracy(full, label, correct)
        return losses

    @torch.no_grad()
    def _accuracy(
        self, full: Callable[[], Tensor], label: Tensor, correct: Tensor | None
    ) -> Tensor:
        """Percent of labelled pixels that are right, (1,); from the bands' count if there is one.

        One score stands for two classes, told apart by the threshold.
        """
        counted = labelled(label, self.ignore_index)
        if correct is None:
            scores = full()
            one = self.out_channels == 1
            found = scores.squeeze(1).sigmoid() > self.threshold if one else scores.argmax(1)
            correct = ((found == label) & counted).sum()
        return percent(correct, counted.sum())


def _build_losses(loss_decode: Config | Sequence[Config]) -> nn.Module:
    """A loss, or an nn.ModuleList of them."""
    from segkit.registry import build_ours  # mmengine's registries stand there, too

    if isinstance(loss_decode, Mapping):
        return build_ours(loss_decode)
    if isinstance(loss_decode, Sequence) and not isinstance(loss_decode, str):
        return nn.ModuleList(build_ours(loss) for loss in loss_decode)
    raise TypeError(f'loss_decode must be a dict or a list of dicts, got {loss_decode!r}.')
