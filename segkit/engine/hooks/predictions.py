"""All predictions of a test in one pickle file, as mmsegmentation's ``--out FILE.pkl`` wrote."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch.distributed as torch_dist
from mmengine.hooks import Hook

from segkit.outputs import output_file
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner


@HOOKS.register_module()
class PredictionFileHook(Hook):
    """Writes a list of (H, W) uint8 or uint16 maps of class indices, in the dataset's order.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    writes = True

    def planned_files(
        self, images: Sequence[str], root: str | None
    ) -> tuple[str, str | None, list[str]]:
        """The option that says where, no folder of pictures, and the file to be."""
        return f'--out {self.path}', None, [str(self.path)]

    def before_test_epoch(self, runner: 'Runner') -> None:
        self._maps: list[np.ndarray] = []

    def after_test_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: object = None,
        outputs: list | None = None,
    ) -> None:
        for sample in outputs or []:
            ids = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            self._maps.append(ids.astype(np.uint8 if ids.max() < 256 else np.uint16))

    def after_test_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        maps = self._of_all_ranks(runner)
        if runner.rank != 0:
            return
        with output_file(self.path, type(self).__name__) as file:
            pickle.dump(maps, file)
        runner.logger.info(f'{len(maps)} predictions: {self.path}')

    def _of_all_ranks(self, runner: 'Runner') -> list[np.ndarray]:
        """Rank r of W holds images r, r + W, ...; the first rank gets all of them in order."""
        if not runner.distributed:
            return self._maps
        parts: list = [None] * runner.world_size
        torch_dist.gather_object(self._maps, parts if runner.rank == 0 else None)
        total = len(runner.test_dataloader.dataset)
        count = runner.world_size
        return [parts[i % count][i // count] for i in range(total)] if runner.rank == 0 else []
