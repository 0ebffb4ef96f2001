"""`MMSegInferencer`: a model that is called with pictures, and writes what it found."""

import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from segkit.apis import inference_model, init_model
from segkit.apis.sources import pictures
from segkit.datasets.metainfo import licence_of
from segkit.errors import UserError
from segkit.model_zoo import read_rows
from segkit.model_zoo.catalog import ABSENT, find
from segkit.structures import SegDataSample
from segkit.visualization.local_visualizer import write_image

from .helpers import get_classes, get_palette
from .show_result_pyplot import show_result_pyplot


def _published(model: str | Path | Config) -> str | None:
    """The address of the weights that a name stands for; says on what terms they are."""
    if isinstance(model, Config) or Path(model).is_file():
        return None
    try:
        row = find(read_rows(), str(model))
    except UserError:
        return None
    terms = licence_of(row.dataset)
    trained = f', trained on {row.dataset} ({terms})' if terms else ''
    print(f'Weights of {row.config}: {row.licence}{trained}.', file=sys.stderr)
    return None if row.url == ABSENT else row.url


class MMSegInferencer:
    """Predicts pictures, shows and writes them.

    Args:
        model: what ``init_model`` takes as config (a path, a Config, the name of a shipped config),
            or a model that it made.
        weights: a checkpoint; of a name without one, what was published for it, downloaded once.
        classes, palette, dataset_name: names and colours to show, in the place of the model's.
        device: by default the first GPU, or the CPU.
        scope: of the types in the config; ours, whatever it says.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module,
        weights: str | None = None,
        classes: str | Sequence[str] | None = None,
        palette: str | Sequence | None = None,
        dataset_name: str | None = None,
        device: str | None = None,
        scope: str | None = 'segkit',
    ) -> None:
        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        self.model: Any = model
        if not isinstance(model, nn.Module):
            weights = weights or _published(model)
            if weights is None:
                warnings.warn(f'{model}: no weights were given, so they are random.', stacklevel=2)
            self.model = init_model(model, weights, device)
        self.cfg = self.model.cfg
        meta = dict(self.model.dataset_meta or {})
        if dataset_name:
            meta |= {'classes': get_classes(dataset_name), 'palette': get_palette(dataset_name)}
        if classes is not None:
            meta['classes'] = get_classes(classes) if isinstance(classes, str) else classes
        if palette is not None:
            meta['palette'] = get_palette(palette) if isinstance(palette, str) else palette
        self.model.dataset_meta = meta
        self.num_visualized_imgs = self.num_pred_imgs = 0

    @staticmethod
    def list_models(scope: str | None = None, patterns: str = '.*') -> list[str]:
        """Names that have published weights, of those that the pattern finds."""
        names = dict.fromkeys(row.config for row in read_rows() if row.url != ABSENT)
        return [name for name in names if re.search(patterns, name)]

    def __call__(
        self,
        inputs: Any,
        return_datasamples: bool = False,
        batch_size: int = 1,
        return_vis: bool = False,
        show: bool = False,
        wait_time: float = 0,
        out_dir: str = '',
        img_out_dir: str = 'vis',
        pred_out_dir: str = 'pred',
        opacity: float = 0.8,
        with_labels: bool = True,
    ) -> object:
        """Predict pictures: what ``inference_model`` takes, and folders as lists.

        Args:
            return_datasamples: give SegDataSamples instead of the dict below.
            return_vis: give the pictures, too.
            out_dir: write overlays (``img_out_dir``, under the names of the pictures) and classes
                as PNG (``pred_out_dir``, 00000000_pred.png, ...) below it.

        Returns:
            ``dict(predictions, visualization)``: an (H, W) array of classes and an (H, W, 3) RGB
            picture for one picture, lists of them for several.
        """
        found = inference_model(self.model, inputs, batch_size=batch_size)
        samples = [found] if isinstance(found, SegDataSample) else list(found)
        drawn: list[np.ndarray] = []
        if out_dir or show or return_vis:
            options = dict(opacity=opacity, with_labels=with_labels, wait_time=wait_time, show=show)
            folder = os.path.join(out_dir, img_out_dir) if out_dir else ''
            drawn = self._draw(inputs, samples, folder, options)
        if out_dir:
            self._write(samples, os.path.join(out_dir, pred_out_dir))
        if return_datasamples:
            return samples[0] if len(samples) == 1 else samples
        results = {
            'predictions': [s.pred_sem_seg.data[0].cpu().numpy() for s in samples],
            'visualization': drawn if return_vis else [],
        }
        if len(samples) == 1:
            return {key: value[0] if value else value for key, value in results.items()}
        return results

    def _draw(
        self, inputs: Any, samples: Sequence, folder: str, options: Mapping[str, object]
    ) -> list[np.ndarray]:
        drawn = []
        for picture, sample in zip(pictures(inputs), samples, strict=True):
            name = f'{self.num_visualized_imgs:08d}_vis.jpg'
            if picture.path is not None:
                name = os.path.basename(picture.path)
            image = picture.path if picture.array is None else picture.array
            args = {**options, 'title': name, 'draw_gt': False}
            drawn.append(show_result_pyplot(self.model, image, sample, **args))
            if folder:
                write_image(drawn[-1], os.path.join(folder, name), type(self).__name__)
            self.num_visualized_imgs += 1
        return drawn

    def _write(self, samples: Sequence, folder: str) -> None:
        for sample in samples:
            classes = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
            file = os.path.join(folder, f'{self.num_pred_imgs:08d}_pred.png')
            write_image(classes, file, type(self).__name__)
            self.num_pred_imgs += 1
