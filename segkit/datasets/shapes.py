"""ShapesDataset: the embedded default, generated from a seed without any file or download.

Picture ``i`` of a split is a pure function of (seed, split, i), the same in every process. What
there is to learn:

    colour    sky | grass | water are three backgrounds, told apart by hue
    texture   planks and bricks are boxes of the same two colours, striped or chequered
    shape     tents and boulders share their colours: triangles and ellipses
    context   the same hull is a boat on water and a cart on grass (what touches it decides);
              the same grey ring is a lamp at night and a mirror by day: only the sun or the moon,
              far away in the sky, decides, so a head must look at the whole picture

``tools/make_demo_dataset.py`` writes the pictures to disk.

Recommended: pictures and crops of 96x128 (height, width), resized by 0.9 to 1.2 at most, as the sun
must stay in the picture; 1,000 pictures to train on and 100 for validation. A PSPNet on ResNet-18
with half its channels passes mIoU 80 % after 600 batches of 8; an FCN stays 9 points behind, as it
guesses lamps and mirrors.

Legend: image (H, W, 3) uint8 BGR; label (H, W) uint8; sizes follow u = min(H, W) / 96. A border of
about two pixels around objects is 255 (ignored) as in Pascal VOC, and so is a hatched patch.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from segkit.datasets.base import BaseSegDataset
from segkit.errors import UserError
from segkit.registry import DATASETS

PAINTED = {
    'sky': (140, 190, 235), 'grass': (90, 170, 60), 'water': (30, 90, 180), 'sun': (250, 210, 40),
    'moon': (225, 225, 240), 'planks': (160, 110, 60), 'bricks': (190, 70, 50),
    'tent': (200, 60, 200), 'boulder': (110, 110, 110), 'boat': (20, 20, 90),
    'cart': (240, 130, 30), 'lamp': (255, 255, 140), 'mirror': (120, 240, 240),
}  # fmt: skip
CLASSES = tuple(PAINTED)
PALETTE = [list(colour) for colour in PAINTED.values()]
IGNORE = 255
_INDEX = {name: index for index, name in enumerate(CLASSES)}
_BOUNDARY = 2


class NoRoomError(Exception):
    """Nothing of that size fits between what was painted: it is left out."""


class Scene:
    """A picture being painted: background first, then objects that do not overlap.

    Args:
        rng: the only source of randomness.
        size: (height, width) in pixels.
    """

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self.rng, (self.height, self.width) = rng, size
        self.unit = min(size) / 96
        self.image = np.zeros((*size, 3), np.uint8)
        self.label = np.zeros(size, np.uint8)
        self.taken = np.zeros(size, np.uint8)
        self.day = bool(rng.random() < 0.5)
        self.on_water = bool(rng.random() < 0.5)

    def paint(self) -> tuple[np.ndarray, np.ndarray]:
        """The finished (image, label)."""
        self._background()
        self._celestial_body()
        last = self._solid if self.rng.random() < 0.5 else self._box
        for draw in (self._solid, self._ring, self._hull, self._box, last, self._hatched_patch):
            with suppress(NoRoomError):
                draw()
        return self._add_noise(), self.label

    # Backgrounds

    def _background(self) -> None:
        self.horizon = int(self.height * self.rng.uniform(0.36, 0.42))
        rows = np.linspace(0, 1, self.height)[:, None, None]
        # The sky looks alike by day and by night: its colour must not give the answer away.
        sky = (
            self._colour((200, 150, 110), 25) * (1 - rows)
            + self._colour((225, 190, 160), 20) * rows
        )
        ground = self._water() if self.on_water else self._grass()
        below = np.arange(self.height) >= self.horizon
        self.image[:] = np.where(below[:, None, None], ground, sky).clip(0, 255)
        self.label[:] = np.where(below, 1 + self.on_water, 0)[:, None]

    def _water(self) -> np.ndarray:
        y, x = np.ogrid[: self.height, : self.width]
        phase, period = self.rng.uniform(0, 6), self.rng.uniform(5, 8) * self.unit
        waves = np.sin(y * 6.283 / period + np.sin(x * 0.15 / self.unit + phase))
        return self._colour((150, 90, 40), 15) + 22 * waves[..., None]

    def _grass(self) -> np.ndarray:
        blades = self.rng.integers(-28, 29, (self.height, self.width, 1))
        return self._colour((60, 140, 80), 15) + blades

    # Objects

    def _celestial_body(self) -> None:
        radius = self._length(12, 15)
        x = int(self.rng.integers(radius + 2, self.width - radius - 2))
        y = int(self.rng.integers(radius + 1, max(self.horizon - radius, radius + 2)))
        mask = self._ellipse((x, y), (radius, radius))
        name, colour = ('sun', (50, 215, 245)) if self.day else ('moon', (235, 225, 215))
        self._put(mask, name, self._colour(colour, 8))

    def _hull(self) -> None:
        """A dark trapezium: on water a boat, on grass a cart."""
        w, h = self._length(15, 20), self._length(8, 10)
        x, y = self._free_place(w, h)
        corners = [(x - w, y - h), (x + w, y - h), (x + w * 3 // 5, y + h), (x - w * 3 // 5, y + h)]
        self._put(self._polygon(corners), 'boat' if self.on_water else 'cart', (35, 40, 60))

    def _ring(self) -> None:
        """A grey disc with a pale rim: by day a mirror, at night a lamp."""
        radius = self._length(12, 15)
        place = self._free_place(radius, radius)
        mask = self._ellipse(place, (radius, radius))
        self._put(mask, 'mirror' if self.day else 'lamp', (150, 150, 150))
        rim = max(int(3 * self.unit), 2)
        cv2.circle(self.image, place, radius - rim // 2 - 1, (225, 225, 225), rim)

    def _box(self) -> None:
        """A box of two colours: striped planks or chequered bricks."""
        w, h = self._length(11, 16), self._length(10, 14)
        (x, y), cell = self._free_place(w, h), max(int(4 * self.unit), 2)
        rows, columns = np.ogrid[: self.height, : self.width]
        stripes, bricks = columns // cell % 2, (columns // cell + rows // cell) % 2
        name, pattern = [('planks', stripes), ('bricks', bricks)][int(self.rng.integers(2))]
        one, two = self._colour((50, 70, 150), 20), self._colour((110, 170, 215), 20)
        fill = np.where(np.broadcast_to(pattern, self.label.shape)[..., None], one, two)
        mask = np.zeros_like(self.label)
        mask[y - h : y + h, x - w : x + w] = 1
        self._put(mask, name, fill)

    def _solid(self) -> None:
        """One plain colour of many: a triangle is a tent, an ellipse a boulder."""
        tent = self.rng.random() < 0.5
        w, h = self._length(14, 17), self._length(14, 16) if tent else self._length(8, 10)
        x, y = self._free_place(w, h)
        colour = self.rng.choice([[170, 60, 190], [60, 60, 220], [190, 190, 60]])
        if tent:
            mask = self._polygon([(x, y - h), (x + w, y + h), (x - w, y + h)])
        else:
            mask = self._ellipse((x, y), (w, h))
        self._put(mask, 'tent' if tent else 'boulder', self._colour(colour, 15))

    def _hatched_patch(self) -> None:
        """In a third of the pictures something nobody labelled: visible, and ignored."""
        if self.rng.random() >= 0.3:
            return
        w = h = self._length(7, 10)
        x, y = self._free_place(w, h)
        patch = self.image[y - h : y + h, x - w : x + w]
        lines = (np.add.outer(np.arange(2 * h), np.arange(2 * w)) // 2) % 2
        patch[:] = np.where(lines[..., None], 20, 240)
        self.label[y - h : y + h, x - w : x + w] = IGNORE

    # Helpers

    def _put(self, mask: np.ndarray, name: str, colour: np.ndarray | Sequence[float]) -> None:
        """Colour a mask, label it, and ignore the band along its outline."""
        inside = mask.astype(bool)
        colour = np.asarray(colour, np.float32)
        self.image[inside] = (colour[inside] if colour.ndim == 3 else colour).clip(0, 255)
        self.label[inside] = _INDEX[name]
        kernel = np.ones((_BOUNDARY + 1, _BOUNDARY + 1), np.uint8)
        outline = cv2.dilate(mask, kernel) != cv2.erode(mask, kernel)
        self.label[outline] = IGNORE
        np.bitwise_or(self.taken, cv2.dilate(mask, np.ones((5, 5), np.uint8)), out=self.taken)

    def _free_place(self, w: int, h: int) -> tuple[int, int]:
        """A centre (x, y) on the ground whose box of half sizes (w, h) is free."""
        low, high = self.horizon + h + 2, self.height - h - 2
        for _ in range(12):
            if high <= low:
                break
            x = int(self.rng.integers(w + 2, self.width - w - 2))
            y = int(self.rng.integers(low, high))
            if not self.taken[y - h : y + h, x - w : x + w].any():
                return x, y
        raise NoRoomError

    def _ellipse(self, center: tuple[int, int], axes: tuple[int, int]) -> np.ndarray:
        return cv2.ellipse(np.zeros_like(self.label), center, axes, 0, 0, 360, 1, -1)

    def _polygon(self, corners: list[tuple[int, int]]) -> np.ndarray:
        return cv2.fillPoly(np.zeros_like(self.label), [np.array(corners, np.int32)], 1)

    def _length(self, low: float, high: float) -> int:
        return int(self.rng.uniform(low, high) * self.unit)

    def _colour(self, bgr: Sequence[float], spread: int) -> np.ndarray:
        return np.asarray(bgr, np.float32) + self.rng.uniform(-spread, spread, 3)

    def _add_noise(self) -> np.ndarray:
        noise = self.rng.integers(-8, 9, self.image.shape, dtype=np.int16)
        return (self.image + noise).clip(0, 255).astype(np.uint8)


def render_scene(
    seed: int, split: str, index: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 BGR and label (H, W) uint8: a pure function of its arguments."""
    split_number = int.from_bytes(split.encode()[:8], 'little')
    rng = np.random.Generator(np.random.PCG64([seed, split_number, index]))
    return Scene(rng, size).paint()


@DATASETS.register_module()
class ShapesDataset(BaseSegDataset):
    """Generated pictures of 13 classes; see above for what there is to learn.

    Args:
        split: any name; each gives other pictures. 'train' and 'val' by custom.
        num_images: length of the dataset.
        size: (height, width) of the pictures, at least (64, 64).
        seed: of the whole collection.
    """

    METAINFO = dict(classes=CLASSES, palette=PALETTE)

    def __init__(
        self,
        split: str = 'train',
        num_images: int = 1000,
        size: tuple[int, int] = (96, 128),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if num_images < 1:
            raise UserError(f'num_images of ShapesDataset must be positive, not {num_images}.')
        if min(size) < 64:
            raise UserError(f'size of ShapesDataset must be at least (64, 64), not {size}.')
        self.split, self.num_images, self.seed = split, num_images, seed
        self.size = (size[0], size[1])
        folder = f'shapes/{split}'  # of no disk, but files made of the pictures are named below it
        kwargs['data_prefix'] = {**(kwargs.get('data_prefix') or {}), 'img_path': folder}
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Names alone; the pictures are painted when asked for."""
        return [
            dict(img_path=f'shapes/{self.split}/{i:05d}.png', scene_index=i)
            for i in range(self.num_images)
        ]

    def get_data_info(self, idx: int) -> dict:
        """What the loading transforms need: the picture comes as a ``cache_entry``."""
        info = super().get_data_info(idx)
        info['seg_map_path'] = info['img_path']
        info['cache_entry'] = PaintedScene(self.seed, self.split, info['scene_index'], self.size)
        return info


class PaintedScene:
    """An image and its label, painted once when either is first asked for."""

    color_types = ('color', 'unchanged')

    def __init__(self, seed: int, split: str, index: int, size: tuple[int, int]) -> None:
        self._arguments, self.shape = (seed, split, index, size), size

    @cached_property
    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        return render_scene(*self._arguments)

    def image(self, stop: int | None = None) -> np.ndarray:
        """(H, W, 3) uint8 BGR; its rows before ``stop`` when only those are wanted."""
        return self._pair[0][:stop]

    def label(self) -> np.ndarray:
        """(H, W) uint8, 255 = ignore."""
        return self._pair[1]
