"""Multi-scale and flip testing (``--aug-test``) as every published "ms+flip" figure was made.

The views of an image follow from the config's own test pipeline: each ratio multiplies *the scale
of the pipeline's Resize*, not the image, and each side is cut to an integer; the image is then
resized to that scale as the pipeline would have done. For (2049, 1025) and a ratio of 0.5 the
scale is (1024, 512). Each view is tested as it is and mirrored.

``enable_aug_test`` writes `MultiScaleViews` and `PackViews` into a config. They make all views of
one decoded image: each scale is resized once and leaves the worker as one uint8 tensor; mirror
images are made on the device. Against running the pipeline once for each of twelve views that is a
fifth of the bytes.

Sizes are (height, width); a pipeline's scale is (longer, shorter) when the aspect is kept and
(width, height) when it is not. img (H, W, 3) uint8 BGR; a view is (3, h, w) uint8.
"""

import copy
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import mmcv
import numpy as np

from segkit.errors import DataError, UserError
from segkit.registry import TRANSFORMS
from segkit.structures import ImageViews

from .compose import Compose
from .formatting import PackSegInputs, image_to_tensor
from .loading import Transform

PUBLISHED = {'img_ratios': (0.5, 0.75, 1.0, 1.25, 1.5, 1.75), 'flip': True}

Size = tuple[int, int]
Config = MutableMapping[str, Any]
Settings = Mapping[str, Any]


def view_size(size: Size, ratio: float, scale: Sequence[int] | None, keep_ratio: bool) -> Size:
    """(height, width) of one view; without a pipeline scale the image's own size is multiplied."""
    if scale is None:
        return int(size[0] * ratio + 0.5), int(size[1] * ratio + 0.5)
    cut = int(scale[0] * ratio), int(scale[1] * ratio)
    width, height = mmcv.rescale_size(size[::-1], cut) if keep_ratio else cut
    return height, width


def view_settings(
    test_pipeline: Sequence[Settings], aug_test: Settings | None
) -> dict[str, object]:
    """Arguments of `MultiScaleViews` for a test pipeline and ``aug_test``."""
    aug = {**PUBLISHED, **(aug_test or {})}
    ratios = [float(ratio) for ratio in aug['img_ratios']]
    if not ratios or min(ratios) <= 0:
        raise UserError(f'aug_test.img_ratios: {ratios} must be positive numbers, at least one.')
    resize = next((step for step in test_pipeline if step['type'] == 'Resize'), {})
    scale = resize.get('scale')
    if resize and scale is None:
        raise UserError(
            'aug_test: Resize in the test pipeline has no scale=(w, h) for the ratios to multiply; '
            'give it one in place of scale_factor.'
        )
    flip = aug.get('flip_direction', 'horizontal') if aug['flip'] else None
    return {
        'ratios': ratios,
        'scale': (scale, scale) if isinstance(scale, int) else scale and tuple(scale),
        'keep_ratio': resize.get('keep_ratio', False),
        'flip': flip,
        **{key: resize[key] for key in ('interpolation', 'backend') if key in resize},
    }


def views_pipeline(
    test_pipeline: Sequence[Mapping[str, object]], aug_test: Mapping[str, object] | None
) -> list[dict[str, object]]:
    """The test pipeline with all views in place of the one resized image.

    What stood between the resize and the packing, loading the label aside, is done to every view.
    """
    names = [step['type'] for step in test_pipeline]
    if 'PackSegInputs' not in names:
        raise UserError('aug_test: the test pipeline must end with PackSegInputs.')
    pack = names.index('PackSegInputs')
    start = names.index('Resize') if 'Resize' in names[:pack] else pack
    between = [dict(step) for step in test_pipeline[start + 1 : pack]]
    label = [step for step in between if step['type'] == 'LoadAnnotations']
    each = [step for step in between if step['type'] != 'LoadAnnotations']
    views = {'type': 'MultiScaleViews', **view_settings(test_pipeline, aug_test)}
    if each:
        views['transforms'] = each
    packing = {**test_pipeline[pack], 'type': 'PackViews'}
    return [*map(dict, test_pipeline[:start]), views, *label, packing]


def enable_aug_test(cfg: Config) -> Config:
    """Turn a config's test into multi-scale and flip testing, in place; returns the config.

    Reads ``cfg.aug_test`` (``img_ratios``, ``flip``, ``flip_direction``; the published protocol
    where it says nothing) and rewrites the pipeline of every test dataset. Done twice it is done
    once.
    """
    # A copy of its own: validation, or a shallow copy of the config, may share these dicts.
    loader = copy.deepcopy(cfg['test_dataloader'])
    for dataset in datasets_of(loader['dataset']):
        if all(step['type'] != 'MultiScaleViews' for step in dataset['pipeline']):
            dataset['pipeline'] = views_pipeline(dataset['pipeline'], cfg.get('aug_test'))
        cfg['test_pipeline'] = dataset['pipeline']
    cfg['test_dataloader'] = loader
    return cfg


def datasets_of(dataset: Config) -> Iterator[Config]:
    """The datasets that have a pipeline, inside any wrappers."""
    if dataset.get('pipeline') is not None:
        yield dataset
    for inner in [dataset.get('dataset'), *(dataset.get('datasets') or [])]:
        if isinstance(inner, MutableMapping):
            yield from datasets_of(inner)


@TRANSFORMS.register_module()
class MultiScaleViews(Transform):
    """Adds ``img_views`` to the results; the image itself and the label stay as they are.

    Args:
        ratios: each multiplies ``scale``, whose sides are then cut to integers.
        scale: the scale of the test pipeline; None multiplies the image's own size.
        keep_ratio: as in Resize.
        flip: direction in which the model shall mirror each view too, or None.
        transforms: configs of what is done to each resized view.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        scale: tuple[int, int] | None = None,
        keep_ratio: bool = True,
        flip: str | None = 'horizontal',
        interpolation: str = 'bilinear',
        backend: str = 'cv2',
        transforms: Sequence[dict[str, object]] = (),
    ) -> None:
        self.ratios, self.flip = list(ratios), flip
        self.scale, self.keep_ratio = None if scale is None else tuple(scale), keep_ratio
        self.interpolation, self.backend = interpolation, backend
        self.transforms = Compose(transforms) if transforms else None

    def _view(self, results: dict, ratio: float) -> np.ndarray:
        img = results['img']
        height, width = view_size(img.shape[:2], ratio, self.scale, self.keep_ratio)
        if not (height and width):
            name = results.get('img_path') or 'an image'
            problem = f'the ratio {ratio} leaves a view of {height} x {width} pixels'
            raise DataError(name, problem, 'Take it out of aug_test.img_ratios.')
        view = mmcv.imresize(
            img, (width, height), interpolation=self.interpolation, backend=self.backend
        )
        if self.transforms is None:
            return view
        done = self.transforms({**results, 'img': view, 'img_shape': view.shape[:2]})
        if done is None:
            raise UserError(f'MultiScaleViews: {self.transforms} gave nothing for a view.')
        return done['img']

    def transform(self, results: dict) -> dict:
        views = [image_to_tensor(self._view(results, ratio)) for ratio in self.ratios]
        results['img_views'] = ImageViews(views, self.flip)
        return results


@TRANSFORMS.register_module()
class PackViews(PackSegInputs):
    """PackSegInputs whose ``inputs`` are the views of `MultiScaleViews`."""

    def transform(self, results: dict) -> dict:
        rest = {key: value for key, value in results.items() if key not in ('img', 'img_views')}
        return {**super().transform(rest), 'inputs': results['img_views']}
