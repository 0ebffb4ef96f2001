"""A test that was stopped goes on: what its metric has counted, and from how many batches.

    WORK_DIR/test_progress/00002-of-00004.pth      of rank 2 of 4, written whole every minute

The sums are integers, so that a resumed test ends at the numbers of one never stopped. Each rank
goes on from its own place. When the test has its result the folder goes.
"""

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.dataset import BaseDataset
from mmengine.dist import barrier
from torch.utils.data import DataLoader

from segkit.datasets.paths import parts_of
from segkit.engine.checkpoints import weights_digest
from segkit.engine.config import without
from segkit.engine.data_order import place_after
from segkit.errors import UserError
from segkit.weights.formats import read_file
from segkit.whole_file import whole_file

FOLDER = 'test_progress'
# What decides the counts; where results go does not.
_DECIDES = ('model', 'test_dataloader', 'test_evaluator', 'test_cfg', 'custom_hooks', 'fp16')
_ASIDE = ('result_file', 'result_info', 'resume', 'save_every', 'num_workers', 'init_cfg')


class TestProgress:
    """Of one rank. ``every``: seconds between two saves."""

    __test__ = False  # of pytest, which would take it for a test

    def __init__(self, runner: Any, metrics: list, loader: DataLoader, every: float) -> None:
        self.runner, self.metrics, self.loader, self.every = runner, metrics, loader, every
        self.folder = Path(runner.work_dir) / FOLDER
        self.file = self.folder / f'{runner.rank:05d}-of-{runner.world_size:05d}.pth'
        self._saved = time.monotonic()
        self._of: dict[str, str] | None = None

    @property
    def possible(self) -> bool:
        """Whether all metrics can be saved."""
        return all(hasattr(metric, 'progress') for metric in self.metrics)

    def resume(self) -> tuple[int, dict]:
        """Batches that are counted already, and the sums of losses beside the metrics."""
        if not self.possible:
            names = ', '.join(type(m).__name__ for m in self.metrics if not hasattr(m, 'progress'))
            raise UserError(
                f'--resume: test_evaluator has {names}, which cannot say what it has counted '
                '(methods `progress` and `go_on_from`): test without --resume.'
            )
        self._refuse_other_ranks()
        if not self.file.is_file():
            return 0, {}
        try:
            state = cast(dict, read_file(self.file))
            before, done = dict(state['of']), int(state['batches'])
        except Exception as error:
            raise UserError(
                f'{self.file}: this progress of a test cannot be read ({type(error).__name__}). '
                'Remove it, or test without --resume.'
            ) from error
        changed = [key for key, value in self._identity().items() if before.get(key) != value]
        if changed:
            raise UserError(
                f'--resume: the test under way in {self.folder} has another '
                f'{" and another ".join(changed)}. Test anew without --resume, or as it was begun.'
            )
        for metric, part in zip(self.metrics, state['metrics']):
            metric.go_on_from(part)
        place_after(self.loader, done)
        self.runner.logger.info(f'The test goes on after {done} of {len(self.loader)} batches.')
        return done, state['sums']

    def _refuse_other_ranks(self) -> None:
        others = {path.stem.rpartition('-')[2] for path in self.folder.glob('*-of-*.pth')}
        own = f'{self.runner.world_size:05d}'
        if others - {own}:
            raise UserError(
                f'--resume: the test under way in {self.folder} has {int(min(others - {own}))} '
                f'processes, and this one {self.runner.world_size}: start as many, or test anew '
                'without --resume.'
            )

    def save_if_due(self, done: int, sums: dict) -> None:
        """After a batch: at most every so many seconds."""
        if self.possible and time.monotonic() - self._saved >= self.every:
            self.save(done, sums)

    def save(self, done: int, sums: dict) -> None:
        """What has been counted in ``done`` batches."""
        parts = [metric.progress() for metric in self.metrics]
        state = dict(of=self._identity(), batches=done, metrics=parts, sums=dict(sums))
        with whole_file(self.file) as file:
            torch.save(state, file)
        self._saved = time.monotonic()

    def forget(self) -> None:
        """Remove what is there: before a test from the start, and once all ranks have theirs."""
        barrier()
        if self.runner.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)
        barrier()

    def _identity(self) -> dict[str, str]:
        if self._of is None:
            config = self.runner.cfg.to_dict()
            parts = without({key: config.get(key) for key in _DECIDES}, _ASIDE)
            text = json.dumps(parts, default=str, sort_keys=True)
            self._of = dict(
                checkpoint=weights_digest(self.runner.bare_model),
                config=hashlib.sha256(text.encode()).hexdigest(),
                data=_samples(self.loader.dataset),
            )
        return self._of


def _samples(dataset: Any) -> str:
    """How many there are and a hash of their names, in order: one picture in the place of another
    is another test."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts_of(dataset):
        for index in range(len(part)) if isinstance(part, BaseDataset) else ():
            info = BaseDataset.get_data_info(part, index)  # a subclass's may make the picture
            names = [value for _, value in sorted(info.items()) if isinstance(value, str)]
            digest.update(f'{names}\n'.encode('utf-8', 'surrogateescape'))
    return f'{len(dataset)} {digest.hexdigest()}'
