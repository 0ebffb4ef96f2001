"""What a hook does to a run, at any point of it, is the same under our Runner as under mmengine's.

A hook stops the training, raises, puts a part of the model into evaluation, exchanges the data,
the loader or the optimizer; everything that the run left is compared.
"""

import pytest
import torch
from contract.both_runners import Points, run_both, state
from helpers.runs import differences
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import DataLoader

BY = pytest.mark.parametrize('by_epoch', [False, True], ids=['iterations', 'epochs'])
POINTS = [stage for stage in Hook.stages if not stage.endswith(('_test', '_load_checkpoint'))
          and '_test_' not in stage and stage != 'before_save_checkpoint']  # fmt: skip


class At(Hook):
    """Calls ``deed(runner)`` when it comes to ``point`` for the ``time``-th time."""

    def __init__(self, point, deed, time=1) -> None:
        self.point, self.deed, self.left = point, deed, time

    def __getattribute__(self, name):
        if name not in Hook.stages or name != super().__getattribute__('point'):
            return super().__getattribute__(name)
        return self._come

    def _come(self, runner, **given) -> None:
        self.left -= 1
        if self.left == 0:
            self.deed(runner)


def stop(runner):
    runner.train_loop.stop_training = True


def evaluate(runner):
    runner.model.net[1].eval()


class ShiftedPoints(Points):
    shift = 0.0

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return dict(sample, inputs=sample['inputs'] + self.shift)


def loader(shift=0.0, batch_size=3) -> DataLoader:
    data = ShiftedPoints()
    data.shift = shift
    sampler = DefaultSampler(data, shuffle=False)
    return DataLoader(data, batch_size, sampler=sampler, collate_fn=pseudo_collate)


def shift(runner):
    runner.train_dataloader.dataset.shift = 5.0


def exchange_loader(runner):
    runner.train_loop.dataloader = loader(3.0)


def exchange_optimizer(runner):
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.5))


def interval(runner):
    runner.train_loop.val_interval = 1


def same(tmp_path, hooks, by_epoch, **changes) -> dict:
    def train(runner) -> None:
        runner.train()

    made = lambda: {name: make() for name, make in changes.items()}  # noqa: E731
    theirs, ours = run_both(tmp_path, hooks, by_epoch, train, made)
    one, two = state(theirs), state(ours)
    assert differences(one, two) == []
    return two


def test_points_were_found():
    assert len(POINTS) == 14
    assert {'before_run', 'after_train_iter', 'after_val_epoch', 'after_train'} <= set(POINTS)


@BY
@pytest.mark.parametrize('deed', [stop, evaluate])
@pytest.mark.parametrize('point', POINTS)
def test_a_deed_at_any_point(tmp_path, point, deed, by_epoch):
    late = 2 if point.endswith(('_train_iter', '_val_iter')) else 1
    same(tmp_path, lambda folder: [At(point, deed, late)], by_epoch)


@pytest.mark.parametrize('error', [KeyError('boom'), StopIteration(), KeyboardInterrupt()],
                         ids=lambda error: type(error).__name__)  # fmt: skip
@pytest.mark.parametrize('point', POINTS)
def test_what_a_hook_raises_comes_out_as_it_is(tmp_path, point, error):
    def boom(runner):
        raise error

    for name, scope in (('mmengine.runner', 'mmengine'), ('segkit.engine', 'segkit')):
        with pytest.raises(type(error)) as raised:
            _alone(name, scope, tmp_path / scope, At(point, boom))
        assert raised.value is error


def _alone(module, scope, folder, hook):
    import importlib

    from contract.both_runners import default_hooks, settings

    kind = importlib.import_module(module).Runner
    runner = kind(**settings(True), work_dir=str(folder), default_scope=scope,
                  default_hooks=default_hooks(True), custom_hooks=[hook])  # fmt: skip
    runner.train()


@BY
@pytest.mark.parametrize(
    ('point', 'deed', 'time'),
    [
        ('before_train_epoch', shift, 2),
        ('after_train_epoch', shift, 1),
        ('before_train_iter', shift, 3),
        ('before_train_epoch', exchange_loader, 2),
        ('after_val_epoch', exchange_loader, 1),
        ('after_train_iter', exchange_optimizer, 3),
        ('before_train_epoch', interval, 1),
        ('after_val', interval, 1),
    ],
)
def test_data_optimizer_and_intervals_exchanged_in_a_run(tmp_path, point, deed, time, by_epoch):
    changes = dict(train_dataloader=loader, param_scheduler=lambda: None)
    same(tmp_path, lambda folder: [At(point, deed, time)], by_epoch, **changes)


def test_a_loader_of_another_length_is_refused(tmp_path):
    def shorter(runner):
        runner.train_loop.dataloader = loader(batch_size=6)

    from segkit.engine.errors import TrainingError

    with pytest.raises(TrainingError, match=r'epoch 2: .* gives 2 iterations .* this run has 4'):
        _alone('segkit.engine', 'segkit', tmp_path, At('before_train_epoch', shorter, 2))


@DATA_SAMPLERS.register_module(force=True)
class Pairs:
    """A batch sampler that has no ``batch_size`` and is no subclass of torch's."""

    def __init__(self, sampler, batch_size) -> None:
        self.sampler = sampler

    def __iter__(self):
        places = list(self.sampler)
        return iter(zip(places[::2], places[1::2]))

    def __len__(self) -> int:
        return len(self.sampler) // 2


@DATA_SAMPLERS.register_module(force=True)
class Backwards(torch.utils.data.Sampler):
    def __init__(self, dataset, seed=None) -> None:
        self.dataset = dataset

    def __iter__(self):
        return iter(range(len(self.dataset))[::-1])

    def __len__(self) -> int:
        return len(self.dataset)


DATASETS.register_module(module=ShiftedPoints, force=True)
USUAL = dict(batch_size=3, dataset=dict(type='mmengine.ShiftedPoints'),
             sampler=dict(type='mmengine.DefaultSampler', shuffle=True))  # fmt: skip


@BY
@pytest.mark.parametrize(
    'changes',
    [
        {},
        dict(batch_size=5, drop_last=True),
        dict(batch_size=5),
        dict(batch_sampler=dict(type='mmengine.Pairs')),
        dict(batch_sampler=dict(type=torch.utils.data.BatchSampler, drop_last=True)),
        dict(sampler=dict(type='mmengine.Backwards')),
        dict(sampler=torch.utils.data.SequentialSampler(Points())),
        dict(dataset=Points()),
        dict(num_batch_per_epoch=2),
        dict(collate_fn=dict(type='default_collate')),
        dict(collate_fn=pseudo_collate, num_workers=1, persistent_workers=True),
        dict(worker_init_fn=dict(type=print), collate_fn=dict(type=pseudo_collate)),
    ],
    ids=lambda changes: '-'.join(changes) or 'usual',
)
def test_loaders_of_any_parts_give_the_same_batches(tmp_path, changes, by_epoch):
    two = same(tmp_path, lambda folder: [], by_epoch, train_dataloader=lambda: {**USUAL, **changes})
    assert two['seen']
