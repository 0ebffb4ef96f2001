"""From what a loader's worker packed to what a network reads: device, float, normalised, padded.

Legend: N images, C channels, (H, W) an image's size, (PH, PW) the padded size.

    in    inputs        N tensors (C, H, W) uint8 BGR, sizes may differ
          data_samples  N SegDataSample, gt_sem_seg (1, H, W) uint8
    out   inputs        (N, C, PH, PW) float32 RGB; testing images of different sizes stay a list
                        of (C, H, W), as padding one to another's size would change its result
          data_samples  labels, and whatever else is a map of the image's size, padded with
                        `seg_pad_val`; metainfo img_shape, pad_shape, and
                        padding_size (training) or img_padding_size (testing)

For multi-scale testing an item of `inputs` is an ImageViews (or a list of views, (C, h, w) each)
and comes out as a sequence that moves and normalises a view when it is taken, so that the device
holds one at a time.

Images and labels travel to the device as bytes. Each image is written once, into its place of a
batch allocated at its final size; values equal (float(x) - mean) / std computed in float32.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement, PixelData
from torch import Tensor, nn

from segkit.errors import UserError
from segkit.models.losses.stray_labels import fits
from segkit.registry import MODELS
from segkit.structures import ImageViews, SegDataSample

Padding = tuple[int, int, int, int]  # left, right, top, bottom


class SegDataPreProcessor(nn.Module):
    """Normalise, reorder channels and pad.

    Args:
        mean, std: per channel, in grey levels, in the order *after* the channel swap; without them
            pixels stay as they are, and it has no such attributes.
        size: (H, W) that training images are padded to (right and bottom).
        size_divisor: pad training images to the next multiple of this instead.
        pad_val: value of padded pixels, after normalisation.
        seg_pad_val: label of padded pixels. None, or a value that is no class, stands for the
            ignore_index of the network's head (255 without one): they train nothing.
        bgr_to_rgb, rgb_to_bgr: swap the channels of three-channel images.
        batch_augments: configs of callables (inputs, data_samples) -> (inputs, data_samples).
        test_cfg: `size` or `size_divisor` for testing; nothing is padded there by default.
        non_blocking: let copies from pinned memory overlap with what the device does.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_val: float = 0,
        seg_pad_val: int | None = None,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        batch_augments: Sequence[Mapping[str, object]] | None = None,
        test_cfg: Mapping[str, object] | None = None,
        non_blocking: bool = True,
    ) -> None:
        super().__init__()
        if bgr_to_rgb and rgb_to_bgr:
            raise UserError('data_preprocessor: set bgr_to_rgb or rgb_to_bgr, not both.')
        if (mean is None) != (std is None):
            raise UserError('data_preprocessor: mean and std come together; give both or none.')
        self.size, self.size_divisor = size, size_divisor
        self.pad_val = pad_val
        self.seg_pad_val = 255 if seg_pad_val is None else seg_pad_val
        self.channel_conversion = bgr_to_rgb or rgb_to_bgr
        self.test_cfg = dict(test_cfg or {})
        self.non_blocking = non_blocking
        self.batch_augments = [MODELS.build(dict(cfg)) for cfg in batch_augments or []]
        self.mean: Tensor
        self.std: Tensor
        for name, values in (('mean', mean), ('std', std)):
            if values is not None:
                tensor = torch.tensor(values).float().view(-1, 1, 1)
                self.register_buffer(name, tensor, persistent=False)
        self._place: Tensor
        # Without a mean no other tensor would say where the network went.
        self.register_buffer('_place', torch.empty(0), persistent=False)

    @property
    def _enable_normalize(self) -> bool:
        """Whether there are ``mean`` and ``std`` to normalise by, as subclasses ask."""
        return hasattr(self, 'mean')

    @property
    def device(self) -> torch.device:
        """Where the network is, and images and labels are brought."""
        return self._place.device

    def serve(self, num_classes: int, ignore_index: int) -> None:
        """Pad labels for a head of ``num_classes``, with a class only if that was asked for; 255
        never means one, however many there are."""
        if self.seg_pad_val == 255 or not 0 <= self.seg_pad_val < num_classes:
            self.seg_pad_val = ignore_index

    def cast_data(self, data: object) -> Any:
        """``data`` with every tensor and sample in it on ``device``, however deep."""
        if isinstance(data, Tensor | BaseDataElement):
            return data.to(self.device, non_blocking=self.non_blocking)
        if isinstance(data, Mapping):
            return {key: self.cast_data(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [self.cast_data(item) for item in data]
        return data

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Cast, normalise and pad a collated batch; see the legend."""
        data = self.cast_data(data)
        images, samples = data['inputs'], data.get('data_samples')
        if training:
            images, samples = self._train_batch(list(images), samples)
        elif _is_views(images):
            images = [Views(self, views) for views in images]
        else:
            images, samples = self._test_batch(list(images), samples)
        return {'inputs': images, 'data_samples': samples}

    def _train_batch(
        self, images: list[Tensor], samples: list[SegDataSample] | None
    ) -> tuple[Tensor, list[SegDataSample]]:
        if samples is None:
            raise UserError('data_preprocessor: training needs data_samples with labels.')
        pad_to = {'size': self.size, 'size_divisor': self.size_divisor}
        batch, paddings = self._stack(images, pad_to)
        for image, sample, padding in zip(images, samples, paddings):
            self._pad_maps(sample, tuple(image.shape[-2:]), padding)
            _record(sample, image, batch, 'padding_size', padding)
        for augment in self.batch_augments:
            batch, samples = augment(batch, samples)
        return batch, samples

    def _test_batch(
        self, images: list[Tensor], samples: list[SegDataSample] | None
    ) -> tuple[Tensor | list[Tensor], list[SegDataSample] | None]:
        groups = [images] if len({x.shape for x in images}) == 1 else [[x] for x in images]
        stacks = [self._stack(group, self.test_cfg) for group in groups]
        batch = stacks[0][0] if len(groups) == 1 else [stack[0] for stack, _ in stacks]
        paddings = [padding for _, group in stacks for padding in group]
        if samples is not None and self.test_cfg:
            for image, sample, padded, padding in zip(images, samples, batch, paddings):
                _record(sample, image, padded, 'img_padding_size', padding)
        return batch, samples

    def _stack(
        self, images: list[Tensor], pad_to: Mapping[str, object]
    ) -> tuple[Tensor, list[Padding]]:
        """Normalised images in one (N, C, PH, PW) batch, and what each was padded by."""
        height, width = _padded_size(images, pad_to)
        shape = (len(images), images[0].shape[0], height, width)
        batch = torch.empty(shape, dtype=torch.float32, device=images[0].device)
        paddings = []
        for image, out in zip(images, batch):
            h, w = image.shape[-2:]
            self._normalise(image, out[:, :h, :w])
            out[:, h:].fill_(self.pad_val)
            out[:, :h, w:].fill_(self.pad_val)
            paddings.append((0, width - w, 0, height - h))
        return batch, paddings

    def _normalise(self, image: Tensor, out: Tensor) -> None:
        """(C, H, W) any dtype -> ``out``, the same shape in float32."""
        if self.channel_conversion and image.shape[0] == 3:
            image = image.flip(0)
        if not self._enable_normalize:
            out.copy_(image)
            return
        mean, std = self.mean, self.std
        if mean.shape[0] not in (1, image.shape[0]):
            raise UserError(
                f'data_preprocessor: mean has {mean.shape[0]} values, but images have '
                f'{image.shape[0]} channels; give one value a channel.'
            )
        torch.sub(image, mean, out=out).div_(std)

    def _pad_maps(self, sample: SegDataSample, size: tuple[int, ...], padding: Padding) -> None:
        """Labels, edges, depths: each map of the image's (H, W), put in place of itself."""
        for name, value in sample.items() if any(padding) else []:
            if isinstance(value, PixelData) and tuple(value.shape or ()) == size:
                padded = {key: self._pad(entry, padding) for key, entry in value.items()}
                sample.set_field(value.new(**padded), name, dtype=PixelData)

    def _pad(self, labels: Tensor, padding: Padding) -> Tensor:
        """Padded with ``seg_pad_val``, in int64 where the dtype would wrap it."""
        labels = labels if fits(self.seg_pad_val, labels.dtype) else labels.long()
        return F.pad(labels, padding, value=self.seg_pad_val)


class Views(Sequence[tuple[Tensor, Padding]]):
    """Views of one image, moved to the device and normalised when they are taken.

    Items are ((C, PH, PW) float32, padding); ``flip`` as in ImageViews.
    """

    def __init__(self, preprocessor: SegDataPreProcessor, views: ImageViews | list) -> None:
        self._preprocessor = preprocessor
        self._images = views.tensors if isinstance(views, ImageViews) else list(views)
        self.flip = getattr(views, 'flip', None)

    def __len__(self) -> int:
        return len(self._images)

    # One at a time: a slice would hold several on the device.
    def __getitem__(self, index: int) -> tuple[Tensor, Padding]:  # type: ignore[override]
        image = self._preprocessor.cast_data(self._images[index])
        batch, paddings = self._preprocessor._stack([image], self._preprocessor.test_cfg)
        return batch[0], paddings[0]


def _is_views(images: Any) -> bool:
    """Whether each item holds several views of one image (multi-scale testing)."""
    return not isinstance(images, Tensor) and isinstance(images[0], ImageViews | list | tuple)


def _padded_size(images: list[Tensor], pad_to: Mapping[str, Any]) -> tuple[int, int]:
    """The common (PH, PW): at least every image, then `size` or a multiple of `size_divisor`."""
    size, divisor = pad_to.get('size'), pad_to.get('size_divisor')
    if size is not None and divisor is not None:
        raise UserError('data_preprocessor: give size or size_divisor, not both.')
    height, width = max([x.shape[-2] for x in images]), max([x.shape[-1] for x in images])
    if size is not None:
        return max(height, size[0]), max(width, size[1])
    if divisor is not None:
        return -(-height // divisor) * divisor, -(-width // divisor) * divisor
    return height, width


def _record(
    sample: SegDataSample, image: Tensor, padded: Tensor, key: str, padding: Padding
) -> None:
    shapes = {'img_shape': tuple(image.shape[-2:]), 'pad_shape': tuple(padded.shape[-2:])}
    sample.set_metainfo({**shapes, key: padding})
