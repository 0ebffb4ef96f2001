"""Reading images and labels; every failure names the file.

Legend: img (H, W, 3) uint8 BGR, or (H, W, C) of the stored dtype; gt_seg_map (H, W) uint8 class
indices, 255 = ignore.
"""

import importlib.util
import io
from functools import partial
from typing import Any

import cv2
import mmcv
import mmcv.transforms
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log

from segkit.datasets.decode import (
    IMAGE_FLAGS,
    DecodeError,
    decode_colours,
    decode_image,
    decode_label,
    decode_top,
    label_of_array,
    orientation,
)
from segkit.datasets.label_maps import colours_to_indices, fit_a_byte, label_table
from segkit.datasets.scan import read_file
from segkit.errors import DataError, UserError
from segkit.old_names import serve
from segkit.registry import TRANSFORMS

_RGB_CURE = (
    "Its values are colours: set label_format='rgb' in the dataset to turn them into indices by "
    'the palette, or save the label as a single-channel PNG whose values are class indices.'
)
DAMAGED_CURE = "Replace the file. Training passes over it with on_error='skip' in the dataset."


class Transform(BaseTransform):
    """mmcv's, printed with its settings."""

    def __repr__(self) -> str:
        shown = (f'{key}={value!r}' for key, value in vars(self).items() if key[0] != '_')
        return f'{type(self).__name__}({", ".join(shown)})'

    def _probability(self, prob: float, name: str = 'prob') -> float:
        """The argument of this name, if it is one."""
        if not 0 <= prob <= 1:
            raise UserError(f'{name} of {type(self).__name__} must lie in [0, 1], not {prob}.')
        return prob


def read_bytes(path: str, what: str, backend_args: dict | None = None, version: str = '') -> bytes:
    """A file's content. A missing file is an error that says which kind of file it was.

    ``version``: of an object of a store, where it is known.
    """
    try:
        return read_file(path, backend_args, version)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{path}: the {what} does not exist. Check data_root, data_prefix and the suffixes '
            'of the dataset in the config.'
        ) from error


_DECODERS = {'cv2': 'cv2', 'pillow': 'PIL', 'turbojpeg': 'turbojpeg', 'tifffile': 'tifffile'}


def check_decoder(name: str) -> None:
    """Raise ValueError for an ``imdecode_backend`` that there is not, or not here."""
    if name not in _DECODERS:
        raise UserError(f'imdecode_backend={name!r} is none of {", ".join(_DECODERS)}.')
    if importlib.util.find_spec(_DECODERS[name]) is None:
        package = 'PyTurboJPEG' if name == 'turbojpeg' else name
        raise UserError(
            f'imdecode_backend={name!r} needs a package that is not installed: pip install '
            f"{package}, or leave it out: 'cv2' reads 8- and 16-bit TIFF too."
        )


def check_backend(backend_args: dict | None) -> None:
    """Raise ValueError for ``backend_args`` that name no way of reaching files."""
    try:
        fileio.get_file_backend(backend_args=backend_args or {'backend': 'local'})
    except KeyError:
        raise UserError(
            f'backend_args={backend_args!r}: there is no such backend; it is one of '
            f'{", ".join(sorted(fileio.backends.registry_utils.backends))}.'
        ) from None


@TRANSFORMS.register_module()
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """mmcv's transform with a faster decoder, a decoded cache, and errors that name the file.

    ``color_type='unchanged'`` keeps 16-bit values and any number of channels (PNG, TIFF; ``.npy``
    arrays of shape (H, W, C) too). Images are BGR: the data preprocessor turns them into RGB. They
    stand upright, as OpenCV turns them by their EXIF orientation, in every ``color_type``.
    """

    _said_loss = False

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        check_decoder(self.imdecode_backend)
        check_backend(self.backend_args)

    def read(self, results: dict) -> np.ndarray:
        """The image as stored, upright: from the dataset's cache if it has one, else decoded."""
        cached = self._cached(results)
        if cached is not None:
            return cached.image()
        return self._decode(self._bytes(results), results)

    def _bytes(self, results: dict) -> bytes:
        place = results['img_path'], 'image', self.backend_args
        return read_bytes(*place, results.get('img_version', ''))

    def _decode(self, data: bytes, results: dict) -> np.ndarray:
        path = results['img_path']
        results['orientation'] = orientation(data)
        try:
            if path.endswith('.npy'):
                return np.load(io.BytesIO(data), allow_pickle=False)
            if self.imdecode_backend == 'cv2' and self.color_type in IMAGE_FLAGS:
                return decode_image(data, self.color_type, partial(self._say_loss, path))
            return mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)
        except (ValueError, OSError) as error:
            cure = getattr(error, 'cure', DAMAGED_CURE)
            raise DataError(path, f'the image cannot be read ({error})', cure) from error

    def _say_loss(self, path: str, dtype: np.dtype) -> None:
        """Warn, once for all files, that more than 8 bits are cut."""
        if not self._said_loss:
            self._said_loss = True
            print_log(
                f'{path}: {dtype} (16-bit) values are read as 8 bits, and what is below a 256th of '
                "their range is lost. Set color_type='unchanged' in LoadImageFromFile to keep "
                'them, and mean and std of the data_preprocessor to fit.',
                'current',
                30,
            )

    def _cached(self, results: dict) -> Any:
        """The sample of the dataset's cache, None without one.

        Raises ValueError, which ``on_error='skip'`` does not take for a damaged file, where this
        transform reads other values than those that are kept.
        """
        cached = results.get('cache_entry')
        if cached is not None and self.color_type not in cached.color_types:
            raise UserError(
                f'{results["img_path"]}: LoadImageFromFile has color_type={self.color_type!r}, and '
                'the image is kept decoded, as 8-bit colour. Leave color_type out, or read the '
                'files themselves (cache=None in the dataset).'
            )
        return cached

    def read_top(self, results: dict, rows: int) -> tuple[np.ndarray, tuple[int, int]]:
        """At least the first ``rows`` rows of the image, and (height, width) of the whole."""
        cached = self._cached(results)
        if cached is not None:
            return cached.image(stop=rows), cached.shape
        if self.imdecode_backend == 'cv2' and self.color_type == 'color':
            data = self._bytes(results)
            top = decode_top(data, rows)
            if top is not None:
                return top
            img = self._decode(data, results)
        else:
            img = self.read(results)
        return img, img.shape[:2]

    def transform(self, results: dict) -> dict | None:
        try:
            img = self.read(results)
        except (OSError, DataError):
            if self.ignore_empty:
                return None
            raise
        if self.to_float32:
            img = img.astype(np.float32)
        results['img'] = img
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        if results.get('gt_seg_map') is not None:
            check_same_size(results, results['gt_seg_map'].shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadImageFromNDArray(LoadImageFromFile):
    """An image that is an array already, ``results['img']`` (H, W[, C]), in the place of a file."""

    def read(self, results: dict) -> np.ndarray:
        """The array."""
        results['img_path'] = None
        return results['img']


@TRANSFORMS.register_module()
class LoadAnnotations(Transform):
    """The label of an image as class indices: ``gt_seg_map`` (H, W), uint8 unless values exceed it.

    Palette images give their indices, whatever the colours; ``.npy`` holds them as an array (H, W).
    ``reduce_zero_label`` comes from the dataset; setting it here as well must agree with it.
    """

    def __init__(
        self,
        reduce_zero_label: bool | None = None,
        imdecode_backend: str = 'pillow',
        backend_args: dict | None = None,
    ) -> None:
        self.reduce_zero_label = reduce_zero_label
        self.imdecode_backend = imdecode_backend  # kept for old configs: the decoder is chosen
        self.backend_args = backend_args
        self._tables: dict = {}

    def read(self, results: dict) -> np.ndarray:
        """Stored label values, (H, W), before any mapping."""
        cached = results.get('cache_entry')
        if cached is not None:
            return cached.label()
        if 'seg_map_path' not in results:
            raise UserError(
                f'{results.get("img_path", "a picture")}: LoadAnnotations reads labels, and the '
                'dataset has none: give data_prefix.seg_map_path, or take the step out.'
            )
        path, palette = results['seg_map_path'], results.get('label_palette')
        version = results.get('seg_map_version', '')
        data = read_bytes(path, 'label', self.backend_args, version)
        results['label_orientation'] = orientation(data)
        try:
            if path.endswith('.npy'):
                label = label_of_array(data)
            else:
                label = decode_label(data) if palette is None else decode_colours(data)
        except DecodeError as error:
            raise DataError(path, f'the label cannot be read ({error})', error.cure) from error
        if palette is not None:
            try:
                ignored = results.get('ignored_colours', ())
                return colours_to_indices(label, palette, ignored, ignored_label(results))
            except ValueError as error:
                cure = 'Add them to the palette, or to ignored_colours of the metainfo.'
                raise DataError(path, str(error), cure) from error
        if label.ndim == 3:
            shape = f'the label is a colour image {label.shape}, where an index is expected'
            raise DataError(path, shape, _RGB_CURE)
        return label

    def table(self, results: dict, dtype: np.dtype) -> np.ndarray | None:
        """The table from stored values to class indices for this dataset, made once."""
        reduce_zero = results.get('reduce_zero_label', False)
        if self.reduce_zero_label is not None and self.reduce_zero_label != reduce_zero:
            raise UserError(
                f'reduce_zero_label is {self.reduce_zero_label} in LoadAnnotations and '
                f'{reduce_zero} in the dataset: set it in the dataset alone.'
            )
        label_map = results.get('label_map')
        size = 256 if np.dtype(dtype).itemsize == 1 else 65536
        ignore = ignored_label(results)
        key = (reduce_zero, size, ignore, tuple(label_map.items()) if label_map else None)
        if key not in self._tables:
            self._tables[key] = label_table(reduce_zero, label_map, size, ignore)
        return self._tables[key]

    def map(self, label: np.ndarray, results: dict) -> np.ndarray:
        """Stored values -> class indices, narrowed to uint8 where all of them fit."""
        table = self.table(results, label.dtype)
        if table is not None and label.dtype == np.uint8 and table.dtype == np.uint8:
            return cv2.LUT(np.ascontiguousarray(label), table)
        if table is not None:
            if label.size and not 0 <= label.min() <= label.max() < len(table):
                raise DataError(
                    results.get('seg_map_path', 'label'),
                    f'the label holds values from {label.min()} to {label.max()}, and only those '
                    f'from 0 to {len(table) - 1} can be mapped to classes',
                    'Save it as an 8- or 16-bit image of class indices.',
                )
            label = table[label]
        if label.dtype != np.uint8 and fit_a_byte(label):
            label = label.astype(np.uint8)
        return label

    def transform(self, results: dict) -> dict:
        label = self.map(self.read(results), results)
        check_same_size(results, label.shape)
        self.add(label, results)
        return results

    @staticmethod
    def add(label: np.ndarray, results: dict) -> None:
        """Class indices into the results, named among the maps that move with the picture."""
        results['gt_seg_map'] = label
        others = [key for key in results.get('seg_fields', ()) if key != 'gt_seg_map']
        results['seg_fields'] = [*others, 'gt_seg_map']


def moving_maps(results: dict, shape: tuple[int, int] | None = None) -> list[str]:
    """Keys of the maps that move with the picture: ``gt_seg_map`` and those of ``seg_fields``.

    Args:
        shape: (height, width) of the picture, where a map of another size cannot move with it.
    """
    named = dict.fromkeys(['gt_seg_map', *results.get('seg_fields', ())])
    found = [key for key in named if results.get(key) is not None]
    for key in found if shape is not None else ():
        if results[key].shape[:2] != shape:
            raise DataError(
                results.get('img_path', 'an image'),
                f'{key} is {results[key].shape[:2]} (height, width) where the picture is {shape}',
                'Make it of the same size, or take it out of seg_fields.',
            )
    return found


def ignored_label(results: dict, given: int | None = None) -> int:
    """The label of pixels that do not count: ``given``, or that of the dataset, or 255."""
    return results.get('ignore_index', 255) if given is None else given


def check_same_size(results: dict, label_shape: tuple[int, int]) -> None:
    """Image as loaded and label must agree; ``ori_shape`` is there once the image was loaded.

    Where EXIF turns the image, the label must say by its own EXIF or by its size that it is turned
    too: one drawn on the picture as stored would train mirrored or upside down.
    """
    if 'ori_shape' not in results:
        return
    image, path = results.get('img_path'), results.get('seg_map_path', 'label')
    height, width = results['ori_shape']
    turn = results.get('orientation') or 1
    marked = results.get('label_orientation') is not None
    same = (height, width) == tuple(label_shape)
    if turn != 1 and not marked and not (same and turn > 4 and height != width):
        raise DataError(
            path,
            f'its image {image} is turned by EXIF (orientation {turn}), and nothing in the label '
            'tells whether it is',
            'Store the image upright, as the label is: ImageOps.exif_transpose(Image.open(path))'
            '.save(path) of Pillow; or give the label the same orientation.',
        )
    if not same:
        raise DataError(
            path,
            f'the label is {label_shape[0]}x{label_shape[1]} (height x width) and its image '
            f'{image} is {height}x{width}',
            'They must have the same size: check that the two files belong together.',
        )


serve(__name__)
