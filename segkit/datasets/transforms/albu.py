"""Transforms of albumentations 2 (MIT) as one step; the package is imported when one is built.

Its own random generators know no seed of ours: each sample's is drawn from numpy's, so that a
sample depends on its seed alone here too.

Legend: img (H, W, 3) BGR, RGB inside of albumentations; maps (H, W).
"""

import copy
import importlib
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from segkit.errors import UserError
from segkit.registry import TRANSFORMS

from .geometric import dtype_with
from .loading import Transform, moving_maps

_KEYS = {'img': 'image', 'gt_seg_map': 'mask'}
_SILENT = 'NO_ALBUMENTATIONS_UPDATE'  # without it an import asks a server for newer releases


def _albumentations() -> ModuleType:
    before = os.environ.get(_SILENT)
    os.environ[_SILENT] = '1'
    try:
        return importlib.import_module('albumentations')
    except ImportError as error:
        raise UserError(
            f'Albu needs albumentations ({error}): pip install "albumentations>=2,<3"'
        ) from error
    finally:
        if before is None:
            del os.environ[_SILENT]
        else:
            os.environ[_SILENT] = before


@TRANSFORMS.register_module()
class Albu(Transform):
    """Transforms of albumentations over picture and maps.

    ``gt_seg_map`` is albumentations' mask; every other map goes where its pixels go. Outside of the
    picture lies what a transform's ``fill_mask`` says, 0 by default: give the ignored label.

    Args:
        transforms: ``dict(type='HorizontalFlip', p=0.5)``, also inside of OneOf and the like.
        keymap: our name -> albumentations' ('image' or 'mask'), where they are not ``img`` and
            ``gt_seg_map``.
        update_pad_shape: also set ``pad_shape`` to the new size.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, object]],
        keymap: Mapping[str, str] | None = None,
        update_pad_shape: bool = False,
    ) -> None:
        names = dict(keymap or _KEYS)
        if sorted(names.values()) not in (['image'], ['image', 'mask']):
            raise UserError(
                f"keymap of Albu is {names}: it names one 'image' and at most one 'mask'; all "
                'other maps of seg_fields move along by themselves.'
            )
        self.transforms, self.keymap = copy.deepcopy(list(transforms)), names
        self.update_pad_shape = update_pad_shape
        package = _albumentations()
        self._aug = package.Compose([self._build(package, step) for step in self.transforms])
        self._ours = {theirs: ours for ours, theirs in names.items()}

    def _build(self, package: ModuleType, step: Mapping[str, Any]) -> object:
        args = dict(step)
        kind = args.pop('type', None)
        found = getattr(package, kind, None) if isinstance(kind, str) else kind
        if not isinstance(found, type):
            raise UserError(f'transforms of Albu: albumentations has no {kind!r}.')
        if 'transforms' in args:
            args['transforms'] = [self._build(package, inner) for inner in args['transforms']]
        return found(**args)

    def transform(self, results: dict) -> dict:
        image, label = self._ours['image'], self._ours.get('mask')
        img = results[image]
        maps = moving_maps(results, img.shape[:2])
        colour = img.ndim == 3 and img.shape[2] == 3
        given = {'image': cv2.cvtColor(img, cv2.COLOR_BGR2RGB) if colour else img.copy()}
        if label in maps:
            given['mask'] = _as_mask(results[label])
        if others := [key for key in maps if key != label]:
            given['masks'] = _places(img.shape[:2])
        self._aug.set_random_seed(int(np.random.randint(2**31)))
        done = self._aug(**given)
        img = cv2.cvtColor(done['image'], cv2.COLOR_RGB2BGR) if colour else done['image']
        for key in others:
            results[key] = _gathered(results[key], done['masks'])
        if 'mask' in given:
            results[label] = done['mask'].astype(dtype_with(results[label], 0))
        results[image], results['img_shape'] = img, img.shape[:2]
        if self.update_pad_shape:
            results['pad_shape'] = img.shape[:2]
        return results


def _as_mask(label: np.ndarray) -> np.ndarray:
    """Of a type that OpenCV moves, nothing of the caller's: bytes, or float32 of whole numbers."""
    return label.astype(np.uint8 if label.dtype == np.uint8 else np.float32)


def _places(shape: tuple[int, int]) -> np.ndarray:
    """(2, H, W) float32: row and column of each pixel, and a half, which no fill value is."""
    return np.indices(shape, np.float32) + np.float32(0.5)


def _gathered(stored: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A map where the places have moved; what a transform filled in is that value."""
    places = np.asarray(places)
    filled = (places[0] % 1 != 0.5) | (places[1] % 1 != 0.5)
    rows, columns = np.where(filled, 0, places).astype(np.intp)
    out = stored[rows, columns]
    if filled.any():
        out = out.astype(dtype_with(stored, float(places[0][filled].max())))
        out[filled] = places[0][filled]
    return out
