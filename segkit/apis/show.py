"""A prediction as an overlay over its image."""

from pathlib import Path
from typing import Any

import numpy as np

from segkit.structures import SegDataSample


def show_result(
    img: str | Path | np.ndarray,
    result: SegDataSample,
    model: Any = None,
    *,
    palette: Any = None,
    opacity: float = 0.5,
    out_file: str | Path | None = None,
    show: bool = False,
    title: str = '',
) -> np.ndarray:
    """Colour ``img`` by its predicted classes.

    Args:
        img: path, or (H, W, 3) uint8 BGR array; resized to the prediction where sizes differ.
        model: where the palette comes from (``dataset_meta``); or give ``palette``, K x 3 RGB.
        opacity: 0 shows the image alone, 1 the colours alone.
        out_file: also write a picture there (the suffix chooses the format).
        show: also open a window; needs a display and an OpenCV with a GUI.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: ``img`` does not exist or is no image. OSError: ``out_file`` is not writable.
    """
    import cv2

    from segkit.visualization import overlay, palette_of
    from segkit.visualization.images import read_rgb

    image = img[..., ::-1] if isinstance(img, np.ndarray) else read_rgb(img)
    labels = result.pred_sem_seg.data.squeeze(0).cpu().numpy()
    colours = palette or palette_of(getattr(model, 'dataset_meta', None))
    picture = np.ascontiguousarray(overlay(image, labels, colours, opacity)[..., ::-1])
    if out_file is not None:
        Path(out_file).parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(out_file), picture):
            raise OSError(f"The picture could not be written to '{out_file}'.")
    if show:
        _window(picture, title or str(img))
    return picture


show_result_pyplot = show_result  # the name it had in the older toolbox


def _window(picture: np.ndarray, title: str) -> None:
    import cv2

    try:
        cv2.imshow(title, picture)
        cv2.waitKey(0)
    except cv2.error as error:
        raise RuntimeError(
            'No window can be opened here (no display, or opencv-python-headless); use out_file.'
        ) from error
