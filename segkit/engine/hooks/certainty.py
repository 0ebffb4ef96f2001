"""Maps of how sure the network is, beside the predictions of a test."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from segkit.datasets.paths import image_root
from segkit.engine.model_setup import bare
from segkit.outputs import picture_png
from segkit.registry import HOOKS
from segkit.visualization.certainty import CONFIDENCE, PROBABILITIES, write_certainty

if TYPE_CHECKING:
    from segkit.engine.runner import Runner
    from segkit.structures import SegDataSample


@HOOKS.register_module()
class CertaintyHook(Hook):
    """Writes confidence and probabilities of each picture, below the names of the pictures.

    Args:
        out_dir: folder; ``confidence/NAME.png`` has the probability of the predicted class in 255
            steps, ``probabilities/NAME.npy`` those of all classes, (K, H, W) float16.
        confidence, probabilities: which of the two.
    """

    def __init__(self, out_dir: str, confidence: bool = True, probabilities: bool = False) -> None:
        self.out_dir = Path(out_dir)
        self.confidence, self.probabilities = confidence, probabilities

    writes = True

    def planned_files(
        self, images: Sequence[str], root: str | None
    ) -> tuple[str, str | None, list[str]]:
        """The option that says where, the folder, and the files to be."""
        names = [picture_png(image, root)[: -len('.png')] for image in images]
        kinds = [(CONFIDENCE, self.confidence), (PROBABILITIES, self.probabilities)]
        chosen = [pattern for pattern, wanted in kinds if wanted]
        paths = [os.path.join(self.out_dir, p.format(name)) for p in chosen for name in names]
        return f'--certainty-dir {self.out_dir}', str(self.out_dir), paths

    def before_test_epoch(self, runner: 'Runner') -> None:
        model: Any = bare(runner.model)
        wanted = dict(keep_confidence=self.confidence, keep_probabilities=self.probabilities)
        model.test_cfg = {**model.test_cfg, **wanted}
        self._root = image_root(runner.test_dataloader.dataset)

    def after_test_iter(
        self,
        runner: 'Runner',
        batch_idx: int,
        data_batch: object = None,
        outputs: 'Sequence[SegDataSample] | None' = None,
    ) -> None:
        for sample in outputs or []:
            name = picture_png(str(sample.img_path), self._root)[: -len('.png')]
            write_certainty(sample, self.out_dir, name, type(self).__name__)
