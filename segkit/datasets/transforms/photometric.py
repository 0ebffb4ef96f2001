"""Distortions of colour and sharpness. Images are (H, W, 3) uint8 BGR; labels are untouched.

Photometric distortion follows SSD (Liu et al., 2016, section 2.2, data augmentation). Each step
``clip(x * a + b)`` truncated to a byte is a function of one byte, so it is a table of 256 entries,
built with the float32 arithmetic of the direct formula: bit-equal to it, and consecutive
steps compose into one table.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .loading import Transform

Step = tuple[int | None, np.ndarray]  # HSV channel or None for all of BGR, table of 256 bytes

_BYTES = np.arange(256, dtype=np.float32)


def linear_table(alpha: float = 1.0, beta: float = 0.0) -> np.ndarray:
    """256 bytes: clip(x * alpha + beta, 0, 255), truncated as a cast to uint8 truncates."""
    return np.clip(_BYTES * alpha + beta, 0, 255).astype(np.uint8)


def _apply_hsv(img: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """One channel of the HSV image through a table; the colour-space round trip is lossy."""
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV)
    cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, channel), table), hsv, channel)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


@TRANSFORMS.register_module()
class PhotoMetricDistortion(Transform):
    """Brightness, contrast, saturation and hue, each with probability one half.

    Contrast comes either second or last, also by the toss of a coin.

    Args:
        brightness_delta: the shift is uniform in [-delta, delta] grey levels.
        contrast_range: the factor of all channels is uniform in this range.
        saturation_range: the factor of the S channel is uniform in this range.
        hue_delta: the shift is an integer in [-delta, delta) of OpenCV's 180 hues.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_lower, self.contrast_upper = contrast_range
        self.saturation_lower, self.saturation_upper = saturation_range
        self.hue_delta = hue_delta

    @staticmethod
    def in_turn() -> Iterator[str]:
        """The steps of one sample; the coins are drawn between them, as in mmsegmentation, so that
        a seed gives the same pictures."""
        yield 'brightness'
        contrast_early = np.random.randint(2) == 1
        if contrast_early:
            yield 'contrast'
        yield 'saturation'
        yield 'hue'
        if not contrast_early:
            yield 'contrast'

    def draw(self) -> list[Step]:
        """The steps of one sample: (HSV channel or None for all of BGR, table of 256 bytes)."""
        return [step for name in self.in_turn() for step in self._drawn(name)]

    def _drawn(self, name: str) -> list[Step]:
        """One step, or none by the toss of a coin."""
        if not np.random.randint(2):
            return []
        if name == 'brightness':
            shift = np.random.uniform(-self.brightness_delta, self.brightness_delta)
            return [(None, linear_table(beta=shift))]
        if name == 'contrast':
            factor = np.random.uniform(self.contrast_lower, self.contrast_upper)
            return [(None, linear_table(factor))]
        if name == 'saturation':
            factor = np.random.uniform(self.saturation_lower, self.saturation_upper)
            return [(1, linear_table(factor))]
        turn = np.random.randint(-self.hue_delta, self.hue_delta)
        return [(0, ((np.arange(256) + turn) % 180).astype(np.uint8))]

    @staticmethod
    def apply(img: np.ndarray, steps: list[tuple[int | None, np.ndarray]]) -> np.ndarray:
        """Apply drawn steps; tables of neighbouring BGR steps are composed first."""
        pending = None
        for channel, table in steps:
            if channel is None:
                pending = table if pending is None else table[pending]
                continue
            if pending is not None:
                img, pending = cv2.LUT(img, pending), None
            img = _apply_hsv(img, channel, table)
        return img if pending is None else cv2.LUT(img, pending)

    def brightness(self, img: np.ndarray) -> np.ndarray:
        """The image, perhaps shifted; a subclass may distort otherwise, here and below."""
        return self.apply(img, self._drawn('brightness'))

    def contrast(self, img: np.ndarray) -> np.ndarray:
        """The image, perhaps scaled."""
        return self.apply(img, self._drawn('contrast'))

    def saturation(self, img: np.ndarray) -> np.ndarray:
        """The image, perhaps of other saturation."""
        return self.apply(img, self._drawn('saturation'))

    def hue(self, img: np.ndarray) -> np.ndarray:
        """The image, perhaps of another hue."""
        return self.apply(img, self._drawn('hue'))

    def convert(self, img: np.ndarray, alpha: float = 1, beta: float = 0) -> np.ndarray:
        """Bytes times ``alpha`` plus ``beta``, clipped."""
        return cv2.LUT(img, linear_table(alpha, beta))

    def transform(self, results: dict) -> dict:
        own, ours = type(self), PhotoMetricDistortion
        steps = ('brightness', 'contrast', 'saturation', 'hue')
        if any(
            name in vars(self) or getattr(own, name) is not getattr(ours, name) for name in steps
        ):
            for name in self.in_turn():
                results['img'] = getattr(self, name)(results['img'])
        else:
            results['img'] = self.apply(results['img'], self.draw())
        return results


@TRANSFORMS.register_module()
class RandomGaussianBlur(Transform):
    """Gaussian blur with probability ``prob``: the one of PSANet's recipe (kernel 5, prob 0.5).

    Args:
        prob: probability in [0, 1].
        kernel_size: odd number of pixels.
        sigma: standard deviation in pixels; 0 derives it from the kernel size as OpenCV does.
    """

    def __init__(self, prob: float = 0.5, kernel_size: int = 5, sigma: float = 0.0) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f'kernel_size of RandomGaussianBlur must be odd, not {kernel_size}.')
        self.prob, self.kernel_size, self.sigma = self._probability(prob), kernel_size, sigma

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            size = (self.kernel_size, self.kernel_size)
            results['img'] = cv2.GaussianBlur(results['img'], size, self.sigma)
        return results
