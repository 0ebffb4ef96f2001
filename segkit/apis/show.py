"""A prediction as an overlay over its image."""

from pathlib import Path
from typing import cast

import numpy as np

from segkit.errors import UserError
from segkit.outputs import refuse_inputs
from segkit.structures import SegDataSample

from .sources import Source, is_single, pictures


def show_result(
    img: object,
    result: SegDataSample | np.ndarray,
    model: object = None,
    *,
    palette: object = None,
    opacity: float = 0.5,
    out_file: str | Path | None = None,
    show: bool = False,
    title: str = '',
) -> np.ndarray:
    """Colour ``img`` by its predicted classes.

    Args:
        img: path, (H, W, 3) uint8 BGR or (H, W) grey array, or PIL image; resized to the prediction
            where sizes differ.
        result: of ``inference_model``, or an (H, W) array of class indices.
        model: where the palette comes from (``dataset_meta``); or give ``palette``, K x 3 RGB.
        opacity: 0 shows the image alone, 1 the colours alone.
        out_file: also write a picture there (the suffix chooses the format); not over ``img``.
        show: also open a window; needs a display and an OpenCV with a GUI.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: ``img`` does not exist or is no image, ``result`` no prediction; a palette of
            too few or other than three numbers a colour; an opacity outside of [0, 1]; an
            ``out_file`` that is ``img``. OSError: ``out_file`` is not writable.
    """
    from segkit.visualization import overlay, palette_of
    from segkit.visualization.images import read_rgb, viewable
    from segkit.visualization.local_visualizer import write_image

    if not 0 <= opacity <= 1:
        raise UserError(f'opacity={opacity!r} must be in [0, 1].')
    image = read_rgb(img) if isinstance(img, (str, Path)) else viewable(_image(img))
    labels = _labels(result)
    if palette is None:
        colours = palette_of(getattr(model, 'dataset_meta', None))
    else:
        colours = _checked(palette, labels)
    if out_file is not None and isinstance(img, (str, Path)):
        refuse_inputs('out_file', [out_file], [img])
    picture = np.ascontiguousarray(overlay(image, labels, colours, opacity)[..., ::-1])
    if out_file is not None:
        write_image(picture[..., ::-1], out_file)
    if show:
        _window(picture, title or str(img))
    return picture


def _image(img: object) -> np.ndarray:
    """(H, W) or (H, W, C) uint8 BGR of what is no path."""
    if isinstance(img, np.ndarray) or is_single(cast(Source, img)):
        picture = next(pictures(cast(Source, img)))
        assert picture.array is not None, 'of what is no path'
        return picture.array
    raise UserError(f'img: a {type(img).__name__} is no picture; give a path or an array.')


def _labels(result: object) -> np.ndarray:
    """(H, W) class indices."""
    if isinstance(result, np.ndarray):
        labels = result
    elif hasattr(result, 'pred_sem_seg'):
        labels = result.pred_sem_seg.data.squeeze(0).cpu().numpy()
    else:
        raise UserError(
            f'result: a {type(result).__name__} is no prediction; give what inference_model '
            'returned for one picture, or an (H, W) array of class indices.'
        )
    if labels.ndim != 2 or labels.dtype.kind not in 'iub':
        raise UserError(
            f'result: {labels.dtype} of shape {labels.shape}; (H, W) class indices are wanted.'
        )
    return labels.astype(np.int64) if labels.dtype.kind == 'b' else labels


def _checked(palette: object, labels: np.ndarray) -> list[list[int]]:
    """K x 3 colours, enough for every class of ``labels``."""
    colours = np.asarray(palette)
    if colours.ndim != 2 or colours.shape[1] != 3 or colours.dtype.kind not in 'iu':
        raise UserError(
            f'palette: {colours.dtype} of shape {colours.shape}; K colours of three whole numbers '
            '(R, G, B) are wanted.'
        )
    if colours.min(initial=0) < 0 or colours.max(initial=0) > 255:
        raise UserError('palette: its numbers must be in [0, 255].')
    shown = labels[labels != 255]
    highest = int(shown.max()) if shown.size else -1
    if highest >= len(colours):
        raise UserError(f'palette: {len(colours)} colours, but the prediction has class {highest}.')
    return colours.tolist()


def _window(picture: np.ndarray, title: str) -> None:
    import cv2

    try:
        cv2.imshow(title, picture)
        cv2.waitKey(0)
    except cv2.error as error:
        raise RuntimeError(
            'No window can be opened here (no display, or opencv-python-headless); use out_file.'
        ) from error
