"""Several sizes of one image for multi-scale testing: each resized once, as bytes.

The flipped half of the views is made on the device from the same bytes, and the label travels once,
so a sample of 6 scales x 2 flips is less than a fifth of twelve separately packed views.
"""

from collections.abc import Sequence

import mmcv
from mmcv.transforms import BaseTransform

from segkit.registry import TRANSFORMS


def view_scale(scale: tuple[int, int], ratio: float) -> tuple[int, int]:
    """The test scale (width, height) times a ratio, each side cut to an integer.

    It is the pipeline's scale that is multiplied, not the image: the published ms+flip figures were
    made so.
    """
    return int(scale[0] * ratio), int(scale[1] * ratio)


@TRANSFORMS.register_module()
class ResizeToViews(BaseTransform):
    """In place of ``Resize``: ``views``, a list of (h, w, C) images, one for each ratio.

    Args:
        scale: (width, height) of the test pipeline's Resize.
        ratios: one view each, in this order.
        keep_ratio: fit the image into the scale keeping its aspect, else resize to the scale.
    """

    def __init__(
        self, scale: tuple[int, int], ratios: Sequence[float], keep_ratio: bool = True
    ) -> None:
        if not ratios:
            raise ValueError('ResizeToViews needs at least one ratio.')
        self.scale, self.ratios, self.keep_ratio = tuple(scale), tuple(ratios), keep_ratio

    def transform(self, results: dict) -> dict:
        img = results['img']
        resize = mmcv.imrescale if self.keep_ratio else mmcv.imresize
        results['views'] = [resize(img, view_scale(self.scale, ratio)) for ratio in self.ratios]
        results['keep_ratio'] = self.keep_ratio
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale={self.scale}, ratios={self.ratios}, '
            f'keep_ratio={self.keep_ratio})'
        )
