"""All views of one image for multi-scale testing, from one decoded image and one label.

Each scale is resized once and leaves the worker as one uint8 tensor; mirror images are made on the
device. Against running the pipeline once for each of twelve views that is a fifth of the bytes.

Legend: img (H, W, 3) uint8 BGR; a view is (3, h, w) uint8.
"""

from collections.abc import Sequence

import mmcv
import numpy as np

from segkit.datasets.multi_scale import view_size
from segkit.errors import DataError, UserError
from segkit.registry import TRANSFORMS
from segkit.structures import ImageViews

from .compose import Compose
from .formatting import PackSegInputs, image_to_tensor
from .loading import Transform


@TRANSFORMS.register_module()
class MultiScaleViews(Transform):
    """Adds ``img_views`` to the results; the image itself and the label stay as they are.

    ``tools/test.py --aug-test`` writes this step into the pipeline, see
    ``segkit.datasets.multi_scale.enable_aug_test``.

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
