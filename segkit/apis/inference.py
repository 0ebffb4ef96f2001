"""Predicting arrays, files, folders, videos and streams with a model of `init_model`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from segkit.errors import DataError, UserError
from segkit.old_names import serve
from segkit.structures import SegDataSample

from .sources import Picture, Source, is_single, pictures

if TYPE_CHECKING:
    from .model import ReadyNetwork


def inference_model(
    model: nn.Module,
    imgs: Source | None = None,
    aug_test: bool = False,
    batch_size: int = 1,
    *,
    img: Source | None = None,
    confidence: bool = False,
    probabilities: bool = False,
    unknown_below: float | None = None,
) -> SegDataSample | list[SegDataSample] | Iterator[SegDataSample]:
    """Predict the classes of images.

    Args:
        model: from ``init_model``.
        imgs: an (H, W, 3) uint8 BGR array, (H, W) of grey levels, a PIL image or a path; or many: a
            list, an (N, H, W, 3) array, a folder, a glob, a video, a stream (``rtsp://...``), a
            camera (``'0'``) or a generator. ``img``: the same by its older name.
        aug_test: the published multi-scale + flip protocol (``aug_test`` of the config).
        batch_size: images that go through the network together. Results do not depend on it.
        confidence: also keep the probability of the predicted class, ``confidence.data`` (1, H, W).
        probabilities: also keep those of all classes, ``probabilities.data`` (K, H, W).
        unknown_below: pixels whose class has a lower probability become 255, "unknown".

    Returns:
        One ``SegDataSample`` for one image; a list for a list or array of images; an iterator, read
        as you go, for folders, globs, videos and generators. ``pred_sem_seg.data`` is (1, H, W).

    Raises:
        ValueError: an item is no picture, or none this network takes; its weights are no longer
            float32. Raised by the call, but for what is only found when a stream is read.
    """
    imgs = img if imgs is None else imgs
    if imgs is None:
        raise UserError('NoneType is no source: give imgs, a picture or many, after the model.')
    stream = pictures(imgs)
    if isinstance(imgs, (list, tuple, np.ndarray)) or is_single(imgs):
        given = list(stream)
        for picture in given:
            _check_channels(picture, input_channels(model))
        stream = iter(given)
    wanted = certainty_settings(confidence, probabilities, unknown_below)
    results = predict_stream(model, stream, aug_test, batch_size, wanted=wanted)
    if is_single(imgs):
        return next(iter(results))[1]
    samples = (sample for _, sample in results)
    if not isinstance(imgs, (list, tuple, np.ndarray)):
        return samples
    listed = []
    for sample in samples:
        sample.logits_later(None)  # which all of them together may be too large for
        listed.append(sample)
    return listed


def inference_segmentor(model: nn.Module, imgs: Source) -> list[np.ndarray]:
    """As before 1.0: the classes of each image, (H, W), in a list even for a single one."""
    results = inference_model(model, imgs)
    samples = [results] if isinstance(results, SegDataSample) else results
    return [sample.pred_sem_seg.data[0].cpu().numpy() for sample in samples]


def predict_stream(
    model: nn.Module,
    stream: Iterator[Picture],
    aug_test: bool = False,
    batch_size: int = 1,
    on_error: Callable[[str], None] | None = None,
    wanted: Mapping[str, object] | None = None,
) -> Iterator[tuple[Picture, SegDataSample]]:
    """(picture, prediction) pairs, in order, ``batch_size`` at a time.

    ``on_error`` is told of a file that cannot be read, which is then left out; without it the
    error is raised. ``wanted``: of ``certainty_settings``. Raises ValueError for a ``batch_size``
    below 1, and for a network of other than float32.
    """
    if batch_size < 1:
        raise UserError(f'batch_size: {batch_size} must be 1 or more images at a time.')
    _check_precision(model)
    network = cast('ReadyNetwork', model)
    pipeline = InferencePipeline(network.cfg, aug_test, input_channels(model))
    batches = iter(lambda: list(islice(stream, batch_size)), [])
    found = (_predicted(network, pipeline, batch, on_error, wanted or {}) for batch in batches)
    return chain.from_iterable(found)


def certainty_settings(
    confidence: bool = False, probabilities: bool = False, unknown_below: float | None = None
) -> dict[str, object]:
    """What of ``test_cfg`` says how sure a prediction is; those that are asked for alone."""
    if unknown_below is not None and not 0 < unknown_below <= 1:
        raise UserError(f'unknown_below={unknown_below!r} must be in (0, 1].')
    asked = dict(keep_confidence=confidence, keep_probabilities=probabilities)
    settings: dict[str, object] = {name: True for name, value in asked.items() if value}
    return settings if unknown_below is None else {**settings, 'unknown_below': unknown_below}


@contextmanager
def _with_test_cfg(network: Any, wanted: Mapping[str, object]) -> Iterator[None]:
    """``wanted`` over the test settings of ``network``, which are put back afterwards."""
    if not wanted:
        yield
        return
    before = network.test_cfg
    network.test_cfg = {**before, **wanted}
    try:
        yield
    finally:
        network.test_cfg = before


def _predicted(
    network: 'ReadyNetwork',
    pipeline: 'InferencePipeline',
    batch: list[Picture],
    on_error: Callable[[str], None] | None,
    wanted: Mapping[str, object],
) -> Iterable[tuple[Picture, SegDataSample]]:
    loaded = [(picture, _load(pipeline, picture, on_error)) for picture in batch]
    read = [(picture, data) for picture, data in loaded if data is not None]
    if not read:
        return ()
    data = pseudo_collate([data for _, data in read])
    with torch.no_grad(), _with_test_cfg(network, wanted):
        return zip((picture for picture, _ in read), network.test_step(data))


def _load(
    pipeline: 'InferencePipeline', picture: Picture, on_error: Callable[[str], None] | None
) -> dict[str, object] | None:
    try:
        return pipeline(picture)
    except (DataError, OSError) as error:
        if on_error is None:
            raise
        on_error(getattr(error, 'finding', str(error)))
        return None


def _check_precision(model: nn.Module) -> None:
    """Raise ValueError where the weights were turned into another type than pictures are turned to
    (``init_model(dtype=...)``)."""
    expected = getattr(model, 'weights_dtype', None) or torch.float32
    kinds = {p.dtype for p in model.parameters() if p.is_floating_point()} - {expected}
    if kinds:
        name = str(kinds.pop()).removeprefix('torch.')
        raise UserError(
            f'the weights of this network are {name}, and pictures float32: call model.float(). '
            'For speed, leave the weights as they are and use init_model(..., bf16=True); for half '
            "the memory init_model(..., dtype='bfloat16')."
        )


def _check_channels(picture: Picture, channels: int) -> None:
    """Raise ValueError for an array of other channels than the network takes."""
    if picture.array is None or picture.array.ndim == 2:
        return
    found = picture.array.shape[2]
    if found != channels:
        cure = (
            ' Leave out the alpha channel: array[..., :3].' if (found, channels) == (4, 3) else ''
        )
        raise UserError(
            f'{picture.name}: an array of shape {picture.array.shape} has {found} channels, and '
            f'this network takes (H, W, {channels}).{cure}'
        )


class InferencePipeline:
    """The config's test pipeline without its labels; files are read as the config says.

    ``channels``: of the network's input. An (H, W) array is repeated to three, and kept for one.
    """

    def __init__(self, cfg: Config, aug_test: bool = False, channels: int = 3) -> None:
        from mmengine.dataset import Compose

        from segkit.datasets.transforms.aug_test import enable_aug_test
        from segkit.registry import TRANSFORMS

        if aug_test:
            cfg = enable_aug_test(cfg.copy())
        self.channels = channels
        steps = [TRANSFORMS.build(step) for step in pipeline_of(cfg)]
        names = [type(step).__name__ for step in steps]
        keep = [(n, s) for n, s in zip(names, steps) if n != 'LoadAnnotations']
        self.load = next((s for n, s in keep if n.startswith('LoadImage')), None)
        self.rest = Compose([s for n, s in keep if not n.startswith('LoadImage')])

    def __call__(self, picture: Picture) -> dict[str, object]:
        """``dict(inputs, data_samples)`` of one picture."""
        try:
            return self.rest(self.loaded(picture))
        except cv2.error as error:  # such as the resize of a picture one pixel wide to none
            said = ' '.join(str(error).split())
            raise DataError(
                picture.path or picture.name,
                f'the test pipeline cannot take it ({said})',
                'Leave it out: its sides may be too unlike for the scale of the pipeline.',
            ) from error

    def loaded(self, picture: Picture) -> dict:
        """What the loading step gives: ``img`` (H, W[, C]), its path and its sizes."""
        if picture.array is None:
            assert self.load is not None, 'a pipeline that reads files has a LoadImage...'
            return self.load(dict(img_path=picture.path))
        array = picture.array
        _check_channels(picture, self.channels)
        if array.ndim == 2 and self.channels == 3:
            array = array[..., None].repeat(3, axis=2)
        size = array.shape[:2]
        return dict(img=array, img_path=None, img_shape=size, ori_shape=size)


def input_channels(model: nn.Module) -> int:
    """Channels of the images that a network takes: those of its first convolution, or what the
    engine that runs it says; else 3."""
    told = getattr(getattr(model, 'backbone', None), 'input_channels', None)
    if told is not None:
        return told
    convolutions = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    return next((first.in_channels for first in convolutions), 3)


def pipeline_of(cfg: Config) -> list[dict[str, object]]:
    """The test pipeline of a config, however its test dataset is wrapped."""
    dataset = cfg.test_dataloader.dataset
    while 'pipeline' not in dataset:  # wrappers: ConcatDataset, RepeatDataset
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset['pipeline']


serve(__name__)
