"""Loops that others derived from mmengine's, and its CheckpointHook, stopped and gone on."""

from typing import Any

import pytest
import torch
from contract.both_runners import Net, Points, Right, settings
from helpers.runs import differences, read
from mmengine import hooks as mm
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch.utils.data import DataLoader

from segkit.engine import Runner, stops


@LOOPS.register_module(force=True)
class PlainEpochLoop(EpochBasedTrainLoop):
    """One of others that changes nothing."""


@LOOPS.register_module(force=True)
class PlainIterLoop(IterBasedTrainLoop):
    """One of others that changes nothing."""


class Dropping(Net):
    def __init__(self) -> None:
        super().__init__()
        self.net.insert(1, torch.nn.Dropout(0.5))


class StopIn(Hook):
    """A signal in the hook point ``where`` after ``at`` iterations; notes numbers of batches."""

    def __init__(self, where: str = '', at: int = -1) -> None:
        self.numbers: list[tuple[int, int]] = []
        if where:
            ask = lambda runner, **given: stops.ask() if runner.iter == at else None  # noqa: E731
            setattr(self, where, ask)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.numbers.append((runner.iter, batch_idx))


def run(folder, kind: str, *hooks: Hook, saving: Any = None, **more: Any) -> Runner:
    by_epoch = 'Epoch' in kind
    net = Dropping()
    saving = saving or dict(type='CheckpointHook', save_best='mIoU', by_epoch=by_epoch)
    loader = DataLoader(Points(), batch_size=3, collate_fn=pseudo_collate,
                        sampler=DefaultSampler(Points(), shuffle=True, seed=5))  # fmt: skip
    length = dict(max_epochs=3, val_interval=2) if by_epoch else dict(max_iters=12, val_interval=5)
    given = dict(
        settings(by_epoch),
        model=net,
        train_dataloader=loader,
        train_cfg=dict(type=kind, **length),
        val_evaluator=[Right()],
        optim_wrapper=OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)),
        param_scheduler=[dict(type='MultiStepLR', milestones=[1, 2], gamma=0.3, by_epoch=by_epoch)],
        default_hooks=dict(checkpoint=saving),
        custom_hooks=hooks,
        randomness=dict(seed=3),
    )
    return Runner(**{**given, **more}, work_dir=str(folder))


STOPS = [('before_train_iter', at) for at in (1, 3, 6, 7, 11)] + [('before_val_iter', 8)]
STOPS_BY_ITERATIONS = [('before_train_iter', at) for at in (4, 5, 11)] + [('before_val_iter', 5)]


@pytest.mark.parametrize(
    ('kind', 'where'), [('PlainEpochLoop', STOPS), ('PlainIterLoop', STOPS_BY_ITERATIONS)]
)
def test_a_loop_of_others_ends_as_if_it_had_not_been_stopped(tmp_path, monkeypatch, kind, where):
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # mmengine's, between two passes
    straight = StopIn()
    run(tmp_path / 'straight', kind, straight).train()
    wanted = {path.name for path in (tmp_path / 'straight').glob('*.pth')}
    assert len(wanted) >= 3
    assert any(name.startswith('best') for name in wanted)
    for point, at in where:
        folder = tmp_path / f'{point}_{at}'
        with pytest.raises(SystemExit):
            run(folder, kind, StopIn(point, at)).train()
        stops._Stop.asked = None
        numbers = StopIn()
        resumed = run(folder, kind, numbers, resume=True)
        resumed.train()
        done = {name for name in wanted if (folder / name).exists()}
        assert done == wanted, (point, at)
        assert numbers.numbers == straight.numbers[12 - len(numbers.numbers) :]
        assert resumed.iter == 12
        for name in wanted:
            ours, theirs = read(folder / name), read(tmp_path / 'straight' / name)
            parts = [p for p in ('state_dict', 'optimizer', 'param_schedulers') if p in theirs]
            assert [differences(ours[p], theirs[p]) for p in parts] == [[]] * len(parts), (
                point, at, name,
            )  # fmt: skip


@pytest.mark.parametrize('kind', ['EpochBasedTrainLoop', 'PlainEpochLoop'])
def test_a_file_saved_before_the_schedules_of_its_epoch_is_gone_on_from_after_them(tmp_path, kind):
    saving = mm.CheckpointHook(interval=2, by_epoch=False)
    straight = run(tmp_path / 'straight', kind, saving=saving)
    straight.train()
    for at in (2, 4, 6, 8, 10):
        start = str(tmp_path / 'straight' / f'iter_{at}.pth')
        resumed = run(tmp_path / f'from_{at}', kind, resume=True, load_from=start)
        resumed.train()
        one, two = straight.model.state_dict(), resumed.model.state_dict()
        assert differences(dict(one), dict(two)) == [], at
