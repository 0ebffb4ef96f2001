"""Training and testing by function, as scripts before 1.0 did."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object
from mmengine.dist import sync_random_seed as _drawn_together
from mmengine.logging import MMLogger
from mmengine.runner import find_latest_checkpoint as _noted_checkpoint
from mmengine.utils.dl_utils import set_multi_processing
from torch import nn
from torch.utils.data import DataLoader

from segkit.apis.inference import InferencePipeline, input_channels
from segkit.apis.sources import pictures
from segkit.registry import MODELS


def get_root_logger(
    log_file: str | None = None, log_level: int | str = logging.INFO
) -> logging.Logger:
    """The logger of runs."""
    return MMLogger.get_instance('segkit', log_file=log_file, log_level=log_level)


def setup_multi_processes(cfg: Mapping[str, object]) -> None:
    """``mp_start_method`` and ``opencv_num_threads`` of a config, set."""
    set_multi_processing(cfg.get('mp_start_method', 'fork'), cfg.get('opencv_num_threads', 0))


def check_dist_init() -> bool:
    """Whether this process is one of a job."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def find_latest_checkpoint(path: str, suffix: str = 'pth') -> str | None:
    """The newest checkpoint of a folder; None where it has none.

    The run's own note of its last one is asked first; else the highest number in a name.
    """
    noted = _noted_checkpoint(path)
    if noted and noted.endswith(suffix) and Path(noted).exists():
        return noted
    latest = Path(path) / f'latest.{suffix}'
    if latest.exists():
        return str(latest)
    files = [(re.findall(r'\d+', file.stem), file) for file in Path(path).glob(f'*.{suffix}')]
    numbered = [(int(numbers[-1]), str(file)) for numbers, file in files if numbers]
    return max(numbered)[1] if numbered else None


def init_random_seed(seed: int | None = None, device: str = 'cuda') -> int:
    """``seed``, or one that all ranks draw together."""
    return _drawn_together() if seed is None else seed


sync_random_seed = init_random_seed


def _preprare_data(imgs: Any, model: Any) -> tuple[dict[str, list], bool]:
    """What ``model.test_step`` takes of one picture or a list of them, and whether it is a list."""
    is_batch = isinstance(imgs, (list, tuple))
    pipeline = InferencePipeline(model.cfg, channels=input_channels(model))
    data = [pipeline(picture) for picture in pictures(imgs)]
    return {key: [item[key] for item in data] for key in ('inputs', 'data_samples')}, is_batch


def single_gpu_test(
    model: nn.Module,
    data_loader: DataLoader,
    show: bool = False,
    out_dir: str | None = None,
    efficient_test: bool = False,
    opacity: float = 0.5,
    pre_eval: bool = False,
    format_only: bool = False,
    format_args: Mapping[str, object] | None = None,
) -> list:
    """Predictions (H, W) of every image of a loader; with ``pre_eval`` what the data set's
    ``pre_eval`` makes of each. ``show``, ``out_dir``: overlays, in the files' names."""
    return list(_tested(model, data_loader, pre_eval, show, out_dir, opacity))


def multi_gpu_test(
    model: nn.Module,
    data_loader: DataLoader,
    tmpdir: str | None = None,
    gpu_collect: bool = False,
    efficient_test: bool = False,
    pre_eval: bool = False,
    format_only: bool = False,
    format_args: Mapping[str, object] | None = None,
) -> list:
    """The same of a loader of which each rank reads its share; every rank returns all results, in
    the order of the data set."""
    parts = all_gather_object(list(_tested(model, data_loader, pre_eval)))
    ordered = [r for group in zip_longest(*parts) for r in group if r is not None]
    return ordered[: len(cast(Sized, data_loader.dataset))]


def _tested(
    model: Any,
    loader: DataLoader,
    pre_eval: bool,
    show: bool = False,
    out_dir: str | None = None,
    opacity: float = 0.5,
) -> Iterator[object]:
    from .show_result_pyplot import show_result_pyplot

    network = getattr(model, 'module', model)
    network.eval()
    indices = iter(cast(Iterable[int], loader.sampler))
    for batch in loader:
        with torch.no_grad():
            samples = network.test_step(batch)
        for sample, index in zip(samples, indices):
            classes = sample.pred_sem_seg.data[0].cpu().numpy()
            if show or out_dir:
                name = sample.img_path
                file = str(Path(out_dir) / Path(name).name) if out_dir else None
                look = dict(opacity=opacity, with_labels=False)
                show_result_pyplot(network, name, classes, show=show, out_file=file, **look)
            dataset: Any = loader.dataset
            yield dataset.pre_eval(classes, int(index))[0] if pre_eval else classes


def train_segmentor(
    model: Any,
    dataset: object,
    cfg: Config,
    distributed: bool = False,
    validate: bool = False,
    timestamp: str | None = None,
    meta: Mapping[str, object] | None = None,
) -> nn.Module:
    """Train a model on a data set as a config of either generation says; our Runner does it.

    Args:
        dataset: a data set, or a list whose first one is trained on.
        distributed: this process is one of a job.
        validate: test on the config's validation set as it trains.
    """
    from segkit.engine.migration import convert
    from segkit.engine.runner import Runner

    new = convert(cfg).config
    new.work_dir = cfg.get('work_dir') or './work_dirs/segkit'
    first = dataset[0] if isinstance(dataset, (list, tuple)) else dataset
    seed = cfg.get('seed')
    if 'data_preprocessor' not in cfg.model:  # built without: the config normalised in its pipeline
        fresh = MODELS.build(new.model.data_preprocessor)
        if hasattr(fresh, 'serve'):
            fresh.serve(model.num_classes, model.decode_head.ignore_index)
        model.data_preprocessor = fresh
    sections = ['optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks', 'custom_hooks']
    sections += ['visualizer', 'env_cfg', 'log_processor', 'load_from', 'resume']
    if validate:
        sections += ['val_dataloader', 'val_evaluator', 'val_cfg']
    else:
        new.train_cfg.pop('val_interval', None)
        (new.default_hooks.get('checkpoint') or {}).pop('save_best', None)
    runner = Runner(
        model=model,
        work_dir=new.work_dir,
        train_dataloader={**new.train_dataloader, 'dataset': first},
        launcher='pytorch' if distributed else 'none',
        randomness=dict(seed=seed) if seed is not None else dict(),
        cfg=new,
        **{name: new[name] for name in sections if new.get(name) is not None},
    )
    return runner.train()
