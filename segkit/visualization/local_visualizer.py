"""SegLocalVisualizer: a picture with its label map and its prediction, side by side.

mmengine's Visualizer makes a matplotlib figure when it is constructed, which costs most of a
second of import for runs that only log numbers. Here the figure is made when something is drawn
with matplotlib; overlays never are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from mmengine.dist import master_only
from mmengine.visualization import Visualizer

from segkit.datasets.metainfo import dataset_metainfo
from segkit.errors import UserError
from segkit.outputs import output_file
from segkit.registry import VISUALIZERS
from segkit.whole_file import whole_file

from .overlays import colourise, fit, overlay, palette_of, side_by_side, with_names


class _FigureToCome:
    """Stands in for the figure until ``set_image`` needs one."""

    @staticmethod
    def get_dpi() -> float:
        return 100.0


@VISUALIZERS.register_module()
class SegLocalVisualizer(Visualizer):
    """Draws data samples; logs what mmengine's Visualizer logs.

    Args:
        name, image, vis_backends, save_dir: as in mmengine.
        alpha: opacity of class colours over the image, in (0, 1].
        classes, palette, dataset_name: where they are not taken from the data set
            (``dataset_meta``).
    """

    # Classes and palette. mmengine's property keeps them from all ranks but the first, whose
    # pictures would then come in colours of their own.
    dataset_meta: dict | None = None

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: list | dict | None = None,
        save_dir: str | None = None,
        alpha: float = 0.5,
        classes: Sequence[str] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        dataset_name: str | None = None,
        **kwargs: object,
    ) -> None:
        if not 0 < alpha <= 1:
            raise UserError(f'SegLocalVisualizer(alpha={alpha}): opacity must be in (0, 1].')
        self._has_figure = False
        super().__init__(name, image, vis_backends, save_dir, **kwargs)
        self.alpha = alpha
        if classes or palette or dataset_name:
            self.set_dataset_meta(palette, classes, dataset_name)

    def _initialize_fig(self, fig_cfg: dict) -> tuple:
        if not self._has_figure:
            return None, _FigureToCome(), None
        return super()._initialize_fig(fig_cfg)

    @master_only
    def set_image(self, image: np.ndarray) -> None:
        """Start a matplotlib drawing on an (H, W, 3) RGB image."""
        if not self._has_figure:
            self._has_figure = True
            figure = self._initialize_fig(self.fig_save_cfg)
            self.fig_save_canvas, self.fig_save, self.ax_save = figure
            self.dpi = self.fig_save.get_dpi()
        super().set_image(image)

    def set_dataset_meta(
        self,
        palette: Sequence[Sequence[int]] | None = None,
        classes: Sequence[str] | None = None,
        dataset_name: str | None = None,
    ) -> None:
        """Colours and names, of a benchmark data set ('cityscapes', 'ade20k') where not given."""
        known: dict = dataset_metainfo(dataset_name) if dataset_name else dict()
        self.dataset_meta = {
            'classes': classes or known.get('classes'),
            'palette': palette or known.get('palette'),
        }

    def draw_sem_seg(
        self,
        image: np.ndarray,
        data_sample: object = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        opacity: float | None = None,
        with_labels: bool = False,
    ) -> np.ndarray:
        """(H, W, 3) RGB picture: the label map to the left of the prediction, whatever is there."""
        opacity = self.alpha if opacity is None else opacity
        panels, titles = [], []
        for wanted, field, title in (
            (draw_gt, 'gt_sem_seg', 'ground truth'),
            (draw_pred, 'pred_sem_seg', 'prediction'),
        ):
            label = self._map_of(data_sample, field) if wanted else None
            if label is not None:
                panels.append(self._panel(image, label, opacity, with_labels))
                titles.append(title)
        if not panels:
            return image
        panels = [fit(panel, panels[-1].shape[:2]) for panel in panels]
        return side_by_side(panels, titles) if len(panels) > 1 else panels[0]

    def _panel(
        self, image: np.ndarray | None, label: np.ndarray, opacity: float, with_labels: bool
    ) -> np.ndarray:
        known = label[label != 255]
        palette = palette_of(self.dataset_meta, int(known.max()) + 1 if known.size else 1)
        drawn = (
            colourise(label, palette) if image is None else overlay(image, label, palette, opacity)
        )
        classes = (self.dataset_meta or {}).get('classes')
        return with_names(drawn, label, classes) if with_labels and classes else drawn

    @staticmethod
    def _map_of(data_sample: object, field: str) -> np.ndarray | None:
        value = getattr(data_sample, field, None) if data_sample is not None else None
        if value is None:
            return None
        return value.data.reshape(value.data.shape[-2:]).cpu().numpy()

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: object = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | os.PathLike | None = None,
        step: int = 0,
        with_labels: bool = False,
        opacity: float | None = None,
    ) -> np.ndarray:
        """Draw a SegDataSample over its (H, W, 3) uint8 RGB image.

        Args:
            name: of the picture, in the backends and in the title of the window.
            show: open a window; ``wait_time`` seconds, 0 for until a key.
            out_file: write there; without it the picture goes to the backends.
            step: of training, for the backends.
            with_labels: write the name of each class onto its largest area.
            opacity: of the class colours; default ``alpha``.

        Returns:
            The picture, (H, W', 3) uint8 RGB.
        """
        drawn = self.draw_sem_seg(image, data_sample, draw_gt, draw_pred, opacity, with_labels)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            write_image(drawn, out_file)
        else:
            self.add_image(name, drawn, step=step)
        return drawn


def write_image(image: np.ndarray, path: str | os.PathLike, writer: str | None = None) -> None:
    """Write an RGB picture, whole or not at all; folders are made, the suffix says the format.

    Args:
        writer: who writes, and so whose earlier pictures may be written over; None: whatever is
            there is.

    Raises:
        OutputError: there is a file that ``writer`` did not write. ValueError: an unknown suffix.
    """
    from PIL import Image

    kinds, suffix = Image.registered_extensions(), os.path.splitext(path)[1].lower()
    if suffix not in kinds:
        raise UserError(f'{path}: a picture is named with .png, .jpg or another of its kinds.')
    with whole_file(path) if writer is None else output_file(path, writer) as file:
        Image.fromarray(image).save(file, format=kinds[suffix])
