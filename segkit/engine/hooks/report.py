"""The HTML report of a test, collected while it runs (``tools/test.py --report``)."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from segkit.engine.env import collect_env, peak_memory_mb
from segkit.outputs import note
from segkit.registry import HOOKS

if TYPE_CHECKING:
    from segkit.engine.runner import Runner
    from segkit.structures import SegDataSample

_WIDTH = 480


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes one self-contained page with scores, curves, confusion and example pictures.

    Args:
        path: of the page; default ``report.html`` in the work directory.
        keep: best and worst pictures to show, each.
    """

    priority = 'LOW'

    def __init__(self, path: str | None = None, keep: int = 6) -> None:
        self.path, self.keep = path, keep

    writes = True

    def planned_files(
        self, images: Sequence[str], root: str | None
    ) -> tuple[str, str | None, list[str]]:
        """The option that says where, no folder of pictures, and the file to be.

        In the work directory it is the run's own.
        """
        return '--report', None, [self.path] if self.path else []

    def before_test_epoch(self, runner: 'Runner') -> None:
        from segkit.visualization import palette_of
        from segkit.visualization.report import ReportBuilder

        meta = runner.test_dataloader.dataset.metainfo
        self._palette = palette_of(meta)
        metrics = getattr(runner.test_evaluator, 'metrics', [])
        known = (m.ignore_index for m in metrics if hasattr(m, 'ignore_index'))
        self._ignore_index = next(known, 255)
        self._builder = ReportBuilder(
            meta['classes'], self._palette, self._ignore_index, keep=self.keep
        )
        self._start, self._images = time.monotonic(), 0

    def after_test_iter(
        self, runner: 'Runner', batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        for i, sample in enumerate(outputs or []):
            self._images += 1
            self._add(sample, data_batch, i)

    def _add(self, sample: 'SegDataSample', data_batch: dict, index: int) -> None:
        pred = sample.pred_sem_seg.data
        name = str(sample.get('img_path', None) or self._images)
        maps = {'prediction': pred}
        if getattr(sample, 'gt_sem_seg', None) is None:
            draw = partial(self._panels, sample, data_batch, index, maps)
            self._builder.add_unlabelled(name, pred, draw)
            return
        label = sample.gt_sem_seg.data
        from segkit.evaluation.confusion import known_pixels

        maps = {'ground truth': label, **maps}
        draw = partial(self._panels, sample, data_batch, index, maps)
        self._builder.add(name, known_pixels(label, pred, self._ignore_index, sample), pred, draw)

    def _panels(
        self, sample: 'SegDataSample', data_batch: dict, index: int, maps: dict[str, Any]
    ) -> dict:
        """The image, each of the maps in the classes' colours, and where two maps differ."""
        from segkit.visualization.images import image_of
        from segkit.visualization.overlays import colourise, error_map, fit

        flat = {name: x.reshape(x.shape[-2:]).cpu().numpy() for name, x in maps.items()}
        height, width = size = flat['prediction'].shape
        shape = (max(1, round(height * _WIDTH / width)), _WIDTH)
        image = fit(fit(image_of(sample, data_batch, index), size), shape)
        small = {name: fit(x.astype(np.int32), shape, nearest=True) for name, x in flat.items()}
        panels = {'image': image}
        panels |= {name: colourise(x, self._palette) for name, x in small.items()}
        if 'ground truth' in small:
            pair = small['ground truth'], small['prediction']
            panels['errors'] = error_map(image, *pair, self._ignore_index)
        return panels

    def after_test_epoch(self, runner: 'Runner', metrics: dict | None = None) -> None:
        seconds = time.monotonic() - self._start
        # The curves are in the checkpoint's folder where a run logged there.
        trained = Path(str(runner.cfg.get('load_from') or '')).parent
        logged = list(trained.glob('*/vis_data/scalars.json'))
        told = [
            getattr(m, 'result_info', {}) for m in getattr(runner.test_evaluator, 'metrics', [])
        ]
        protocol = [str(info['protocol']) for info in told if 'protocol' in info]
        path = self.path or str(Path(runner.work_dir) / 'report.html')
        rate = self._images * runner.world_size / max(seconds, 1e-9)
        self._builder.write(
            path,
            title=Path(runner.cfg.filename or runner.experiment_name).stem,
            work_dir=trained if logged else Path(runner.work_dir),
            metrics={k: float(v) for k, v in (metrics or {}).items()} or None,
            config=runner.cfg.pretty_text,
            environment=collect_env(),
            timings={
                'test, s': f'{seconds:.1f}',
                'images per second': f'{rate:.2f}',
                'peak memory, MB': f'{peak_memory_mb()}',
            },
            facts={
                'data set': type(runner.test_dataloader.dataset).__name__,
                'checkpoint': str(runner.cfg.get('load_from') or 'as trained'),
                **({'protocol': protocol[0]} if protocol else {}),
                'written': time.strftime('%Y-%m-%d %H:%M'),
            },
        )
        if is_main_process():
            note(path, type(self).__name__)
            runner.logger.info(f'Report: {path}')
