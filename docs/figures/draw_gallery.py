"""The pictures of docs/gallery.md, from the network that `make demo` trains.

python docs/figures/draw_gallery.py work_dirs/demo
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segkit.apis import inference_model, init_model
from segkit.datasets.shapes import render_scene
from segkit.visualization import colourise, error_map, overlay, palette_of, side_by_side

HERE = Path(__file__).resolve().parent
SIZE = (96, 128)


def enlarged(image: np.ndarray, times: int = 2) -> np.ndarray:
    return cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)


def saved(picture: np.ndarray, name: str) -> None:
    """As a PNG of 96 colours, which keeps a page light."""
    small = Image.fromarray(picture).quantize(96, dither=Image.Dither.NONE)
    small.save(HERE / name, optimize=True)


def main(checkpoint: str) -> None:
    model = init_model('pspnet_r18-d8_shapes', checkpoint)
    palette, rows = palette_of(model.dataset_meta), []
    for index in (3, 11, 27):
        image, label = render_scene(0, 'val', index, SIZE)
        pred = inference_model(model, image).pred_sem_seg.data[0].numpy()
        rgb = image[..., ::-1]
        panels = [
            rgb, colourise(label, palette), overlay(rgb, pred, palette), error_map(rgb, label, pred)
        ]  # fmt: skip
        titles = ['picture', 'label', 'prediction', 'errors'] if not rows else None
        rows.append(side_by_side([enlarged(panel) for panel in panels], titles))
    saved(np.concatenate(rows), 'gallery_predictions.png')


def draw_confidence(checkpoint: str) -> None:
    """Picture, prediction, confidence, and the prediction without what the network is unsure of."""
    model = init_model('pspnet_r18-d8_shapes', checkpoint)
    palette, rows = palette_of(model.dataset_meta), []
    for index in (3, 11):
        image, _ = render_scene(0, 'val', index, SIZE)
        sure = inference_model(model, image, confidence=True)
        cut = inference_model(model, image, unknown_below=0.8)
        grey = np.rint(255 * sure.confidence.data[0].numpy()).astype(np.uint8)
        panels = [image[..., ::-1], colourise(sure.pred_sem_seg.data[0].numpy(), palette)]
        panels += [
            np.repeat(grey[..., None], 3, 2),
            colourise(cut.pred_sem_seg.data[0].numpy(), palette),
        ]
        titles = ['picture', 'prediction', 'confidence', 'unknown below 0.8'] if not rows else None
        rows.append(side_by_side([enlarged(panel) for panel in panels], titles))
    saved(np.concatenate(rows), 'gallery_confidence.png')


if __name__ == '__main__':
    main(sys.argv[1])
    draw_confidence(sys.argv[1])
