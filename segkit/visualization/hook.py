"""Pictures of predictions during validation and testing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmengine.hooks import Hook

from segkit.datasets.paths import image_root
from segkit.errors import UserError
from segkit.outputs import picture_png
from segkit.registry import HOOKS

from .images import image_of
from .local_visualizer import write_image

if TYPE_CHECKING:
    from mmengine.runner import Runner

    from segkit.structures import SegDataSample


@HOOKS.register_module()
class SegVisualizationHook(Hook):
    """Draws predictions next to their labels.

    Args:
        draw: whether to; False (the default) does nothing, so that a config may always hold it.
        interval: draw every so many images of a validation; a test draws every image.
        show: open a window for each, ``wait_time`` seconds long.
        show_dir: folder for the pictures, in the subfolders and under the names of the images;
            else they go to the visualizer's backends.
        backend_args: of older configs; pictures come as they were read.
    """

    priority = 'NORMAL'

    def __init__(
        self,
        draw: bool = False,
        interval: int = 50,
        show: bool = False,
        wait_time: float = 0.0,
        show_dir: str | None = None,
        backend_args: object = None,
    ) -> None:
        if interval < 1:
            raise UserError(f'SegVisualizationHook(interval={interval}): must be at least 1.')
        self.draw = draw or show or show_dir is not None
        self.interval, self.show, self.wait_time = interval, show, wait_time
        self.show_dir = Path(show_dir) if show_dir else None
        self._seen = 0

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._seen = 0

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence | None = None,
        mode: str = 'train',
    ) -> None:
        for i, sample in enumerate(outputs or () if self.draw and mode != 'train' else ()):
            self._seen += 1
            if mode == 'test' or self._seen % self.interval == 0:
                self._draw_one(runner, image_of(sample, data_batch, i), sample, mode)

    @property
    def writes(self) -> bool:
        """Whether it writes files of its own."""
        return self.show_dir is not None

    def planned_files(
        self, images: Sequence[str], root: str | None
    ) -> tuple[str, str | None, list[str]]:
        """The option that says where, the folder, and the files to be."""
        folder = str(self.show_dir)
        paths = [os.path.join(folder, picture_png(image, root)) for image in images]
        return f'--show-dir {folder}', folder, paths

    def _draw_one(
        self, runner: Runner, image: np.ndarray, sample: SegDataSample, split: str
    ) -> None:
        dataset = getattr(getattr(runner, f'{split}_dataloader', None), 'dataset', None)
        # Where it lies in its data set, as images of two folders may share a name.
        path = str(sample.get('img_path', None) or self._seen)
        file = Path(picture_png(path, image_root(dataset)))
        name = f'{split}_{file.stem}'
        if self.show_dir is not None:
            # Not through add_datasample: that draws on the main process only, and every rank
            # has images of its own.
            drawn = runner.visualizer.draw_sem_seg(image, sample)
            write_image(drawn, self.show_dir / file, type(self).__name__)
            if self.show:
                runner.visualizer.show(drawn, win_name=name, wait_time=self.wait_time)
            return
        runner.visualizer.add_datasample(
            name, image, sample, show=self.show, wait_time=self.wait_time, step=runner.iter
        )
