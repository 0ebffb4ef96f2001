"""Small datasets on disk for tests: images of several scales, labels of patches and some 255."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from segkit.datasets.decode import PNG_SIGNATURE

cv2.setNumThreads(0)  # as in a data worker; threads fighting for cores only slow small images


def smooth_image(rng, size, channels=3):
    """(H, W, C) uint8 with structure at several scales, as resizing tests want it."""
    height, width = size
    img = np.zeros((height, width, channels), np.float32)
    for cells in (4, 16, 64):
        small = rng.uniform(0, 255, (cells, cells, channels)).astype(np.float32)
        big = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        img += big.reshape(height, width, channels) / 3
    return (img + rng.normal(0, 3, img.shape)).clip(0, 255).astype(np.uint8)


def blob_label(rng, size, num_classes, ignore=255):
    """(H, W) uint8: constant patches, and some 255."""
    cells = rng.integers(0, num_classes, (6, 8)).astype(np.uint8)
    cells[rng.random(cells.shape) < 0.1] = ignore
    return cv2.resize(cells, size[::-1], interpolation=cv2.INTER_NEAREST)


def write_pair(root, stem, image, label, img_suffix='.png', seg_map_suffix='.png'):
    """``root/img/<stem>``, ``root/ann/<stem>``."""
    paths = []
    for folder, suffix, array in (('img', img_suffix, image), ('ann', seg_map_suffix, label)):
        path = Path(root) / folder / (stem + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        if array is not None:
            assert cv2.imwrite(str(path), array)
        paths.append(path)
    return paths


def write_dataset(root, sizes, num_classes=5, seed=0, img_suffix='.png'):
    """One pair for each (height, width); returns the root as a string."""
    rng = np.random.default_rng(seed)
    for i, size in enumerate(sizes):
        image, label = smooth_image(rng, size), blob_label(rng, size, num_classes)
        write_pair(root, f'{i:03d}', image, label, img_suffix)
    return str(root)


PREFIX = dict(img_path='img', seg_map_path='ann')


def png_chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', check)


def gray_png(array: np.ndarray, bits: int) -> bytes:
    """Written by hand from the PNG specification: rows packed to bytes, the filter byte 0 first."""
    planes = (array[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(planes.reshape(len(array), -1).astype(np.uint8), axis=1)
    header = struct.pack('>IIBBBBB', array.shape[1], len(array), bits, 0, 0, 0, 0)
    content = zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes())
    parts = ((b'IHDR', header), (b'IDAT', content), (b'IEND', b''))
    return PNG_SIGNATURE + b''.join(png_chunk(*part) for part in parts)
