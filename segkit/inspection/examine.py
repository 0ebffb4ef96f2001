"""One image and its label, read the way training reads them, as a record of plain numbers.

Legend: K classes; counts maps a class index (after reduce_zero_label and label_map) to pixels.
A look is the picture as 16 x 16 grey values: enough to know it again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from segkit.datasets.decode import Header, picture_header
from segkit.errors import DataError
from segkit.registry import TRANSFORMS

from .config_datasets import Problem

_KINDS = (
    ('image cannot be read', 'unreadable image'),
    ('label cannot be read', 'unreadable label'),
    ('colour image', 'colour label'),
    ('outside the palette', 'unknown colours'),
    ('height x width', 'size mismatch'),
    ('does not exist', 'missing file'),
    ('turned by EXIF', 'turned picture'),
)

# What ``on_error='skip'`` of a dataset passes over.
DAMAGE = {kind for _, kind in _KINDS} | {'cannot be used'}


_LUMA = np.array([0.114, 0.587, 0.299], np.float32)  # of blue, green and red


@dataclass
class Record:
    """What one pair holds.

    size: (height, width). means, squares: per channel, of the pixel values and their squares, in
    the order the file is read (BGR). look: (16, 16) float32.
    """

    image: str
    label: str | None
    size: tuple[int, int] | None = None
    means: list[float] = field(default_factory=list)
    squares: list[float] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    header: Header | None = None
    look: np.ndarray | None = None


class Examiner:
    """Reads samples by the loading transforms of a pipeline; travels to worker processes."""

    def __init__(self, load_image: Mapping, load_label: Mapping) -> None:
        self.configs = load_image, load_label
        self._loaders: list | None = None

    def __getstate__(self) -> dict:
        return {'configs': self.configs, '_loaders': None}

    def __call__(self, info: dict) -> Record:
        """The record of one sample; what is wrong with it is in the record, never raised."""
        if self._loaders is None:
            self._loaders = [TRANSFORMS.build(dict(cfg)) for cfg in self.configs]
        record = Record(info['img_path'], info.get('seg_map_path'))
        results = dict(info)
        steps = (self._image, self._label) if record.label is not None else (self._image,)
        for load, step in zip(self._loaders, steps):
            try:
                step(load, record, results)
            except (DataError, OSError, ValueError) as error:
                said = str(error)
                kind = next((kind for words, kind in _KINDS if words in said), 'cannot be used')
                record.problems.append(Problem(kind, said, record.image))
        return record

    def _image(self, load: Callable, record: Record, results: dict) -> None:
        results.update(load(results))
        image = results['img']
        record.size = image.shape[:2]
        pixels = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1)
        record.means = pixels.mean(0, dtype=np.float64).tolist()
        record.header = picture_header(record.image)
        record.look = look_of(image)
        record.squares = [float(np.square(c, dtype=np.float64).mean()) for c in pixels.T]

    def _label(self, load: Callable, record: Record, results: dict) -> None:
        record.counts = value_counts(load(results)['gt_seg_map'])


def look_of(image: np.ndarray) -> np.ndarray:
    """(H, W[, C]) of any dtype -> (16, 16) float32, the mean grey value of each part."""
    image = image if image.ndim == 2 else image[..., :3]
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        image = image.astype(np.float32)
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32).reshape(16, 16, -1)
    return small @ _LUMA if small.shape[2] == 3 else small.mean(2)


def value_counts(label: np.ndarray) -> dict[int, int]:
    """Value -> pixels, of any integer label."""
    if label.dtype == np.uint8:
        counts = np.bincount(label.ravel(), minlength=256)
        return {int(value): int(counts[value]) for value in counts.nonzero()[0]}
    values, counts = np.unique(label, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))
