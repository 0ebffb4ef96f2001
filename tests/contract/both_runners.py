"""The same small training under mmengine's Runner and under ours, and what it left behind."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine import hooks as mm
from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import LogProcessor
from mmengine.runner import Runner as TheirRunner
from torch import nn
from torch.utils.data import DataLoader, Dataset

from segkit.engine import Runner

_CLOCK = {'time', 'data_time', 'eta', 'memory'}


class Points(Dataset):
    """Twelve points in four dimensions, of two classes."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict:
        point = torch.sin(torch.arange(4.0) * (index + 1))
        return dict(inputs=point, data_samples=int(point.sum() > 0))


class Net(BaseModel):
    """Two layers and a batch norm, of the same weights each time."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        logits = self.net(torch.stack(list(inputs)))
        if mode != 'loss':
            return list(logits)
        loss = nn.functional.cross_entropy(logits, torch.tensor(list(data_samples)))
        return dict(loss_ce=loss)


class Right(BaseMetric):
    """The share of right answers, under a name that hooks know, and their mean margin."""

    default_prefix = None

    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results += list(zip(data_samples, data_batch['data_samples']))

    def compute_metrics(self, results: list) -> dict:
        right = [float(logits.argmax() == wanted) for logits, wanted in results]
        margin = [float(abs(logits[0] - logits[1])) for logits, _ in results]
        count = len(results)
        return dict(mIoU=sum(right) / count, margin_acc=sum(margin) / count)


class Watch(Hook):
    """What a hook sees at each point: which point, how far, at which rates."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def __getattribute__(self, name: str) -> Any:
        if name not in Hook.stages:
            return super().__getattribute__(name)

        def note(runner: Any, **given: Any) -> None:
            rates = dict(runner.optim_wrapper.get_lr()) if 'train_' in name else None
            keys = sorted(k for k in given if k != 'metrics'), sorted(given.get('metrics') or {})
            # Gradients that are left are saved by ours alone.
            saved = sorted(set(given.get('checkpoint', ())) - {'partial_gradients'})
            self.seen.append((name, runner.iter, runner.epoch, rates, keys, saved))

        return note


@dataclass
class Left:
    """What a run left: everything that a hook may have changed."""

    runner: Any
    hooks: list[Hook]
    seen: list[tuple]
    folder: Path
    extra: Any = None
    files: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.files = sorted(p.name for p in self.folder.glob('*.pth'))

    def scalars(self) -> list[dict]:
        """Lines of the scalar log, without what a clock says."""
        lines = []
        for path in sorted(self.folder.glob('*/vis_data/scalars.json')):
            lines += [json.loads(line) for line in path.read_text().splitlines()]
        return [{k: v for k, v in line.items() if k not in _CLOCK} for line in lines]


def default_hooks(by_epoch: bool) -> dict[str, Hook]:
    """mmengine's own, where ours stand by default."""
    return dict(
        runtime_info=mm.RuntimeInfoHook(),
        timer=mm.IterTimerHook(),
        sampler_seed=mm.DistSamplerSeedHook(),
        logger=mm.LoggerHook(interval=1, log_metric_by_epoch=by_epoch),
        param_scheduler=mm.ParamSchedulerHook(),
        checkpoint=mm.CheckpointHook(interval=-1, by_epoch=by_epoch, save_last=False),
    )


def settings(by_epoch: bool) -> dict[str, Any]:
    """Arguments of both Runners; parts are built anew for each."""
    data = Points()
    sampler = (DefaultSampler if by_epoch else InfiniteSampler)(data, shuffle=False)
    still = DefaultSampler(data, shuffle=False)
    length = dict(max_epochs=2) if by_epoch else dict(max_iters=8, val_interval=3)
    kind = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    loader = dict(collate_fn=pseudo_collate)
    return dict(
        model=Net(),
        train_dataloader=DataLoader(data, batch_size=3, sampler=sampler, **loader),
        val_dataloader=DataLoader(data, batch_size=4, sampler=still, **loader),
        test_dataloader=DataLoader(data, batch_size=4, sampler=still, **loader),
        train_cfg=dict(type=kind, **length),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        val_evaluator=[Right()],
        test_evaluator=[Right()],
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
            dict(type='MultiStepLR', milestones=[1], by_epoch=True),
        ],
        log_processor=LogProcessor(window_size=1, by_epoch=by_epoch),
        randomness=dict(seed=5),
    )


def run_both(
    folder: Path,
    hooks: Callable[[Path], list[Hook]],
    by_epoch: bool = False,
    way: Callable[[Any], Any] = lambda runner: runner.train(),
    changed: Callable[[], dict[str, Any]] = dict,
) -> tuple[Left, Left]:
    """(theirs, ours) after ``way(runner)``, with ``hooks(work_dir)`` and ``settings`` as changed:
    both are called for each Runner, which gets parts of its own."""
    left = []
    for name, kind in (('theirs', TheirRunner), ('ours', Runner)):
        work_dir, watch = folder / name, Watch()
        added, changes = hooks(work_dir), changed()
        arguments = {**settings(by_epoch), **changes}
        arguments['default_hooks'] = {**default_hooks(by_epoch), **changes.get('default_hooks', {})}
        scope = 'segkit' if kind is Runner else 'mmengine'
        arguments['experiment_name'] = f'{folder.name}_{name}'  # theirs share what has one name
        runner = kind(
            **arguments, work_dir=str(work_dir), custom_hooks=[*added, watch], default_scope=scope
        )
        extra = way(runner)
        left.append(Left(runner, added, watch.seen, work_dir, extra))
    return left[0], left[1]


def state(left: Left) -> dict:
    """All that is compared."""
    runner = left.runner
    model = getattr(runner.model, 'module', runner.model)
    averages = [h.ema_model.state_dict() for h in left.hooks if isinstance(h, mm.EMAHook)]
    return dict(
        weights=dict(model.state_dict()),
        optimizer=runner.optim_wrapper.state_dict(),
        averages=averages,
        place=[runner.iter, runner.epoch, runner.train_loop.stop_training],
        files=left.files,
        scalars=left.scalars(),
        scores=left.extra,
        seen=[list(item) for item in left.seen],
        schedules=[s.state_dict() for s in runner.param_schedulers or []],
        order=[type(h) for h in runner.hooks if not type(h).__module__.startswith('segkit')],
    )
