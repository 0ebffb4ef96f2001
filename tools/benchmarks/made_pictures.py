"""Pictures with the statistics that decoders and compressors see in photographs, made from a seed.

``street``: 2048x1024 colour PNG of about 2.3 MB (Pillow, level 6) with a label PNG of about 40 kB,
as in Cityscapes; ``room``: 683x512 JPEG of quality 92 of about 90 kB with a label PNG of about
14 kB, as in ADE20K.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: int) -> np.ndarray:
    """(H, W) smooth noise in [-1, 1] with structures of ``cell`` pixels."""
    small = rng.uniform(-1, 1, (size[0] // cell + 2, size[1] // cell + 2)).astype(np.float32)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC)


def photograph(rng: np.random.Generator, size: tuple[int, int], grain: float) -> np.ndarray:
    """(H, W, 3) uint8: one brightness at many scales, slowly changing colour, sensor grain."""
    light = sum(_noise(rng, size, cell) * cell**0.5 for cell in (4, 8, 16, 32, 64, 128, 256))
    edges = (_noise(rng, size, 96) > 0.1) * 40.0
    colour = [_noise(rng, size, cell) * 14 for cell in (64, 128, 200)]
    img = 110 + light[..., None] * 2.2 + edges[..., None] + np.stack(colour, axis=-1)
    shared = rng.normal(0, grain, size)[..., None]
    return (img + shared + rng.normal(0, grain / 3, (*size, 3))).clip(0, 255).astype(np.uint8)


def label(rng: np.random.Generator, size: tuple[int, int], classes: int) -> np.ndarray:
    """(H, W) uint8 regions with curved outlines, some of them 255."""
    out = np.zeros(size, np.uint8)
    for _ in range(8):
        region = _noise(rng, size, int(rng.integers(40, 200))) > rng.uniform(0.3, 0.7)
        out[region] = rng.choice([*rng.integers(0, classes, 9), 255])
    return out


def write_streets(root: Path, count: int) -> None:
    """``root/img/*.png``, ``root/ann/*.png``: Cityscapes-like pairs."""
    write_pairs(root, count, (1024, 2048), grain=1.0, classes=19, suffix='.png')


def write_rooms(root: Path, count: int) -> None:
    """``root/img/*.jpg``, ``root/ann/*.png``: ADE20K-like pairs."""
    write_pairs(root, count, (512, 683), grain=3.4, classes=151, suffix='.jpg')


def write_pairs(
    root: Path, count: int, size: tuple[int, int], grain: float, classes: int, suffix: str
) -> None:
    """``count`` pictures of ``size`` (H, W) and their labels."""
    rng = np.random.default_rng(0)
    for folder in ('img', 'ann'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image = Image.fromarray(photograph(rng, size, grain))
        options = dict(compress_level=6) if suffix == '.png' else dict(quality=92)
        image.save(root / 'img' / f'{i}{suffix}', **options)
        Image.fromarray(label(rng, size, classes)).save(root / 'ann' / f'{i}.png')
