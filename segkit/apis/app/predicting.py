"""From an uploaded file to what the page shows: limits, one prediction, a legend."""

import html
import time
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from torch import nn

from segkit.apis.inference import inference_model
from segkit.apis.show import show_result
from segkit.apis.sources import IMAGE_SUFFIXES
from segkit.errors import UserError
from segkit.structures import SegDataSample
from segkit.visualization import palette_of
from segkit.visualization.class_tables import hex_of


class Limits(NamedTuple):
    """What a picture may be at most; beyond it is refused before a pixel of it is decoded."""

    megabytes: float = 20
    megapixels: float = 16


USUAL = Limits()


class Found(NamedTuple):
    """A class that was found: share of the pixels and mean confidence, both in [0, 1]."""

    name: str
    colour: str
    share: float
    confidence: float


class Shown(NamedTuple):
    """A prediction as the page shows it.

    overlay: (H, W, 3) uint8 RGB. confidence: (H, W) uint8, 255 for certain. mask: (H, W) uint8 or
    uint16 class indices, 255 where unknown. classes: the largest first. seconds: of the prediction.
    """

    overlay: np.ndarray
    confidence: np.ndarray
    mask: np.ndarray
    classes: list[Found]
    seconds: float


def refuse_large(path: Path, limits: Limits) -> None:
    """Raise UserError for a file that is no picture, too long, or of too many pixels.

    Only the heading of the file is read.
    """
    from PIL import Image

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f'{path.name} is no picture: {", ".join(sorted(IMAGE_SUFFIXES))} are.')
    megabytes = path.stat().st_size / 1e6
    if megabytes > limits.megabytes:
        raise UserError(
            f'{path.name} has {megabytes:.1f} MB, more than the {limits.megabytes:g} MB this page '
            'takes. Save it smaller.'
        )
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except Image.DecompressionBombError as error:
        raise UserError(f'{path.name}: {error}') from None
    except Exception:  # damaged headers raise whatever their bytes happen to mean
        raise UserError(f'{path.name} cannot be read as a picture; is it whole?') from None
    if width * height > limits.megapixels * 1e6:
        raise UserError(
            f'{path.name} has {width} x {height} pixels, more than the {limits.megapixels:g} '
            'million this page takes. Make it smaller.'
        )


def predict(
    model: nn.Module,
    path: str | Path,
    limits: Limits = USUAL,
    opacity: float = 0.5,
    unknown_below: float = 0,
) -> Shown:
    """The prediction of one picture's file.

    Args:
        model: of ``init_model``.
        unknown_below: pixels whose class has a lower probability are 255; 0 for none.

    Raises:
        UserError: the picture is refused, or cannot be read; says why.
    """
    refuse_large(Path(path), limits)
    start = time.perf_counter()
    sample = inference_model(model, str(path), confidence=True, unknown_below=unknown_below or None)
    seconds = time.perf_counter() - start
    assert isinstance(sample, SegDataSample), 'one picture, one prediction'
    labels = sample.pred_sem_seg.data[0].cpu().numpy()
    confidence = sample.confidence.data[0].float().cpu().numpy()
    overlay = show_result(str(path), sample, model, opacity=opacity)[..., ::-1]
    return Shown(
        np.ascontiguousarray(overlay),
        np.round(255 * confidence).astype(np.uint8),
        labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.uint16),
        classes_of(model, labels, confidence),
        seconds,
    )


def classes_of(model: nn.Module, labels: np.ndarray, confidence: np.ndarray) -> list[Found]:
    """The classes of (H, W) ``labels``, the largest first; 255 beyond the names is 'unknown'."""
    meta = cast('dict[str, list]', getattr(model, 'dataset_meta', None) or {})
    names, colours = meta.get('classes') or [], palette_of(meta)
    counts = np.bincount(labels.ravel())
    sums = np.bincount(labels.ravel(), weights=confidence.ravel())
    found = []
    for i in np.argsort(-counts, kind='stable').tolist():
        if not counts[i]:
            break
        unknown = i == 255 and len(names) <= 255
        name = 'unknown' if unknown else str(names[i]) if i < len(names) else f'class {i}'
        colour = 'transparent' if unknown else hex_of(colours[i % len(colours)])
        found.append(Found(name, colour, counts[i] / labels.size, sums[i] / counts[i]))
    return found


def legend_html(shown: Shown) -> str:
    """Swatch, name, share and mean confidence of each class; names are text, whatever they hold."""
    rows = ''.join(
        f'<tr><td><i style="background:{found.colour}"></i></td><td>{html.escape(found.name)}</td>'
        f'<td>{100 * found.share:.1f} %</td><td>{100 * found.confidence:.0f} %</td></tr>'
        for found in shown.classes
    )
    height, width = shown.mask.shape
    sure = sum(found.share * found.confidence for found in shown.classes)
    return (
        f'<p>{width} x {height} pixels in {shown.seconds:.2f} s, on average {100 * sure:.0f} % '
        'sure.</p><table class="legend"><thead><tr><th></th><th>class</th><th>pixels</th>'
        f'<th>sure</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def write_mask(shown: Shown, path: Path) -> Path:
    """The class of each pixel as a grey PNG."""
    path.write_bytes(cv2.imencode('.png', shown.mask)[1].tobytes())
    return path
