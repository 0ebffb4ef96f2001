"""``run.json`` beside the checkpoints: what this run was, for whoever finds them later."""

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from segkit.engine.env import collect_env, commit, peak_memory_mb
from segkit.registry import HOOKS
from segkit.shared_text import shareable
from segkit.whole_file import write_text

if TYPE_CHECKING:
    from segkit.engine.runner import Runner

_SAMPLED = 1000


def data_fingerprint(dataset: Any) -> dict:
    """Number of samples and a hash of the names, sizes and settings of (up to 1000) of them."""
    size = len(dataset)
    digest = hashlib.sha256(f'{type(dataset).__name__} {size}'.encode())
    for index in range(0, size, max(1, size // _SAMPLED)):
        info = dataset.get_data_info(index) if hasattr(dataset, 'get_data_info') else {}
        for key in ('img_path', 'seg_map_path'):
            path = Path(str(info.get(key, '')))
            length = path.stat().st_size if path.is_file() else 0
            version = info.get(key.replace('path', 'version'), '')  # of an object of a store
            text = f'{path.name} {length}{version}'
            digest.update(text.encode('utf-8', 'surrogateescape'))
    return dict(dataset=type(dataset).__name__, samples=size, sha256=digest.hexdigest()[:16])


@HOOKS.register_module()
class RunCardHook(Hook):
    """Writes the run card with every checkpoint, so that it never lags behind the last one."""

    def before_train(self, runner: 'Runner') -> None:
        self._start, self._first = time.time(), runner.iter
        self._setting: dict | None = None

    def checkpoint_written(self, runner: 'Runner', folder: str, done: int) -> None:
        """Called before ``last_checkpoint`` names it, after ``done`` iterations."""
        if not is_main_process():
            return
        if self._setting is None:
            self._setting = shareable(_setting_of(runner))  # it lies beside what others are given
        seconds = time.time() - self._start
        card = dict(
            iteration=done,
            wall_time_s=round(seconds, 1),
            iterations_this_start=done - self._first,
            images_per_s=round((done - self._first) * runner.effective_batch / seconds, 3),
            peak_memory_mb=peak_memory_mb(),
            **self._setting,
        )
        write_text(Path(folder) / 'run.json', json.dumps(card, indent=1) + '\n', durable=True)


def _setting_of(runner: 'Runner') -> dict:
    """What is the same for all checkpoints of a run."""
    config = runner.config_json()
    return dict(
        experiment=runner.experiment_name,
        config_file=runner.cfg.filename,
        config_sha256=hashlib.sha256(config.encode()).hexdigest()[:16],
        commit=commit(),
        environment={k: v for k, v in collect_env().items() if k != 'host'},
        launcher=runner.launcher,
        world_size=runner.world_size,
        effective_batch=runner.effective_batch,
        seed=runner.seed,
        deterministic=runner.deterministic,
        data=data_fingerprint(runner.train_dataloader.dataset),
        config=json.loads(config),
    )
