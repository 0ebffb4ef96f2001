"""A converted config trains and tests on pictures made for it: two iterations, crops of 128.

Nothing else of the config is changed but the number of workers, the scale of the test pictures and
where weights would be downloaded from.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image

SIDE = 128  # of the crops
ITERATIONS = 2


def data_sets(cfg: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every data set of a config, out of its wrappers."""
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        yield from _inner(loader['dataset']) if loader else ()


def _inner(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in dataset.get('datasets') or [dataset.get('dataset')]:
        if part is None:
            yield dataset
        else:
            yield from _inner(part)


def make_pictures(cfg: Mapping[str, Any], root: Path, count: int = 2) -> None:
    """Pictures, labels and lists where the config looks for them, below ``root``."""
    from segkit.registry import DATASETS

    for dataset in data_sets(cfg):
        built = DATASETS.build({**dataset, 'lazy_init': True, 'pipeline': []})
        home = root / (dataset.get('data_root') or '')
        folders = dataset['data_prefix']
        rng = np.random.RandomState(0)
        for i in range(count):
            picture = rng.randint(0, 256, (72, 96, 3), np.uint8)
            label = np.kron(rng.randint(0, 3, (9, 12)), np.ones((8, 8))).astype(np.uint8)
            for folder, suffix, pixels in (
                (folders['img_path'], built.img_suffix, picture),
                (folders['seg_map_path'], built.seg_map_suffix, label),
            ):
                path = home / folder / f'picture{i}{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
        if dataset.get('ann_file'):
            (home / dataset['ann_file']).parent.mkdir(parents=True, exist_ok=True)
            names = ''.join(f'picture{i}\n' for i in range(count))
            (home / dataset['ann_file']).write_text(names)


def shrink(cfg: Config, work_dir: Path, side: int = SIDE) -> Config:
    """Two iterations of two crops, one validation and one test, in this process."""
    size = (side, side)
    cfg.work_dir = str(work_dir)
    cfg.model.pretrained = None
    cfg.model.backbone.pop('init_cfg', None)
    cfg.model.data_preprocessor.pop('size_divisor', None)
    cfg.model.data_preprocessor.size = size
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        for dataset in _inner(loader.dataset):
            for step in dataset.pipeline:
                if step.type == 'RandomCrop':
                    step.crop_size = size
                elif step.type == 'Resize' and split != 'train':
                    step.scale = (2 * side, side)
    cfg.train_dataloader.batch_size = 2
    by = 'max_epochs' if 'max_epochs' in cfg.train_cfg else 'max_iters'
    cfg.train_cfg.update({by: ITERATIONS, 'val_interval': ITERATIONS})
    cfg.default_hooks.logger.interval = 1
    return cfg


def train_and_test(cfg: Config) -> tuple[list[float], dict[str, float]]:
    """The losses of the iterations, and the scores of the test."""
    from segkit.engine import Runner, check_config

    check_config(cfg)
    runner = Runner.from_cfg(cfg)
    losses: list[float] = []
    step = runner.model.train_step

    def watched(*args: Any, **kwargs: Any) -> Any:
        found = step(*args, **kwargs)
        losses.append(float(found['loss'].detach()))
        return found

    runner.model.train_step = watched
    runner.train()
    return losses, runner.test()
