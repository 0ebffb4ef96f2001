"""A run that was stopped and resumed ends, bit for bit, where a run never stopped ends."""

import json

import pytest
import torch
from helpers.runs import assert_same_run, differences, read, train, train_until
from helpers.tiny_config import epochs, tiny_config
from mmengine.hooks import Hook

from segkit.datasets.shapes import ShapesDataset
from segkit.engine import Runner, stops

EMA = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.01)]
# A sampler of another kind, in passes of three batches: it is resumed in the middle of the second.
PASSES = dict(
    train_dataloader__sampler=dict(type='DefaultSampler', shuffle=True),
    train_dataloader__dataset__num_images=6,
)


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
    """Final checkpoints of runs never stopped, by their options; each is made once."""
    made = {}

    def run(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp('straight')
            train(folder, **options)
            made[key] = folder / 'iter_8.pth'
        return made[key]

    return run


@pytest.mark.parametrize('stop', [3, 4, 7])
def test_resumed_equals_never_stopped(tmp_path, straight, stop):
    train_until(tmp_path, stop)
    runner = train(tmp_path, resume=True)
    assert runner.iter == 8
    assert_same_run(tmp_path / 'iter_8.pth', straight())


@pytest.mark.parametrize(
    'options',
    [
        dict(custom_hooks=EMA),
        dict(train_cfg__accumulate=2),
        dict(optim_wrapper__accumulative_counts=3),
        dict(train_dataloader__num_workers=2, train_dataloader__persistent_workers=True),
        dict(optim_wrapper__type='AmpOptimWrapper', optim_wrapper__dtype='bf16'),
        dict(optim_wrapper__optimizer=dict(_delete_=True, type='AdamW', lr=1e-3)),
        dict(randomness__deterministic=True),
        dict(freeze=['backbone.*', 'decode_head.conv_seg']),
        PASSES,
    ],
    ids=[
        'ema',
        'accumulate',
        'mid-step',
        'workers',
        'amp',
        'adamw',
        'deterministic',
        'frozen',
        'passes',
    ],
)
def test_resumed_equals_never_stopped_with(tmp_path, straight, options):
    train_until(tmp_path, 5, **options)
    train(tmp_path, resume=True, **options)
    assert_same_run(tmp_path / 'iter_8.pth', straight(**options))


def test_workers_and_no_workers_train_alike(straight):
    with_workers = dict(train_dataloader__num_workers=2, train_dataloader__persistent_workers=True)
    assert differences(read(straight())['state_dict'],
                       read(straight(**with_workers))['state_dict']) == []  # fmt: skip


def test_validating_does_not_change_training(tmp_path, straight):
    train(tmp_path, train_cfg__val_interval=1)
    assert differences(read(tmp_path / 'iter_8.pth')['state_dict'],
                       read(straight())['state_dict']) == []  # fmt: skip


def test_a_run_killed_while_validating_validates_again(tmp_path, straight):
    train_until(tmp_path, 4)
    checkpoint = read(tmp_path / 'iter_4.pth')
    assert checkpoint['message_hub']['runtime_info']['last_val_iter'] == 4
    # The file as it was before that validation, as a kill during it leaves it.
    (tmp_path / 'best_mIoU_iter_4.pth').unlink()
    info = checkpoint['message_hub']['runtime_info']
    del info['best_checkpoints'], info['last_val_iter']
    log = checkpoint['message_hub']['history']
    checkpoint['message_hub']['history'] = {k: v for k, v in log.items() if k[:4] != 'val/'}
    torch.save(checkpoint, tmp_path / 'iter_4.pth')
    train(tmp_path, resume=True)
    assert_same_run(tmp_path / 'iter_8.pth', straight())


def test_past_data_is_not_read_again(tmp_path, monkeypatch):
    train_until(tmp_path, 6)
    read_indices = []
    get_data_info = ShapesDataset.get_data_info

    def note(self, index):
        if self.split == 'train':
            read_indices.append(index)
        return get_data_info(self, index)

    monkeypatch.setattr(ShapesDataset, 'get_data_info', note)
    train(tmp_path, resume=True, default_hooks__run_card=None)
    assert len(read_indices) <= 2 * 2 + 2  # two iterations of two images, and a look at a sample


def test_the_seed_of_a_run_without_one_is_resumed(tmp_path):
    train_until(tmp_path / 'a', 5, randomness__seed=None)
    seed = read(tmp_path / 'a' / 'iter_4.pth')['meta']['seed']
    train(tmp_path / 'a', resume=True, randomness__seed=None)
    train(tmp_path / 'b', randomness__seed=seed)
    assert_same_run(tmp_path / 'a' / 'iter_8.pth', tmp_path / 'b' / 'iter_8.pth')


def test_two_runs_of_one_seed_are_identical_and_of_two_are_not(tmp_path, straight):
    train(tmp_path / 'same')
    assert_same_run(tmp_path / 'same' / 'iter_8.pth', straight())
    train(tmp_path / 'other', randomness__seed=8)
    assert differences(read(tmp_path / 'other' / 'iter_8.pth')['state_dict'],
                       read(straight())['state_dict'])  # fmt: skip


def test_a_resumed_run_fetches_no_pretrained_weights(tmp_path):
    """The machine it goes on at may reach no network."""
    train(tmp_path, train_cfg__max_iters=4)

    nowhere = str(tmp_path / 'nowhere.pth')
    train(tmp_path, train_cfg__max_iters=6, resume=True, model__backbone__pretrained=nowhere)

    assert (tmp_path / 'iter_6.pth').is_file()


class Stopping(Hook):
    """A signal in iteration ``at``, counted from 1."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at:
            stops.ask()


@pytest.mark.parametrize(
    ('sizes', 'unit'),
    [((7, 'global'), dict), ((7, 'epoch', 'global'), epochs)],
    ids=['iterations', 'epochs'],
)
def test_a_resumed_run_logs_the_averages_of_a_run_never_stopped(tmp_path, sizes, unit):
    options = dict(
        log_processor__by_epoch=unit is epochs,
        default_hooks__logger__interval=4,
        log_processor__window_size=2,
        log_processor__custom_cfg=[
            dict(data_src='loss', log_name=f'loss_{size}', method_name='mean', window_size=size)
            for size in sizes
        ],
    )
    train(tmp_path / 'straight', **options, **unit())
    runner = Runner.from_cfg(tiny_config(tmp_path / 'run', **options, **unit()))
    runner.register_hook(Stopping(7))
    with pytest.raises(SystemExit):
        runner.train()
    train(tmp_path / 'run', resume=True, **options, **unit())
    logged = []
    for folder in ('straight', 'run'):
        files = sorted((tmp_path / folder).glob('*/vis_data/scalars.json'))
        said = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        logged.append(next(line for line in said if line['step'] == 8 and 'lr' in line))
    names = ['loss', *(f'loss_{size}' for size in sizes)]
    assert [logged[1][name] for name in names] == [logged[0][name] for name in names]


@pytest.mark.parametrize(
    ('at', 'options'),
    [
        (3, {}),
        (4, {}),
        (6, dict(custom_hooks=EMA)),
        (3, dict(train_cfg__accumulate=2)),
        (7, dict(train_dataloader__num_workers=2)),
    ],
    ids=['in the first', 'at its end', 'ema', 'accumulate', 'workers'],
)
def test_a_run_by_epochs_that_a_signal_stopped_ends_where_one_never_stopped_ends(
    tmp_path, at, options
):
    train(tmp_path / 'straight', **epochs(**options))
    runner = Runner.from_cfg(tiny_config(tmp_path / 'run', **epochs(**options)))
    runner.register_hook(Stopping(at))
    with pytest.raises(SystemExit):
        runner.train()
    name = 'epoch_1.pth' if at == 4 else f'iter_{at}.pth'
    assert (tmp_path / 'run' / 'last_checkpoint').read_text() == name

    runner = train(tmp_path / 'run', resume=True, **epochs(**options))
    assert (runner.epoch, runner.iter) == (3, runner.max_iters)
    assert_same_run(tmp_path / 'run' / 'epoch_3.pth', tmp_path / 'straight' / 'epoch_3.pth')


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_run_by_epochs_saves_as_often_as_it_validates_unless_told(tmp_path, by_epoch):
    often = dict(train_cfg__val_interval=2, default_hooks__checkpoint__interval=None)
    options = {**epochs(), **often, 'default_hooks__checkpoint__by_epoch': by_epoch}
    train(tmp_path, **options)
    names = ['epoch_2', 'epoch_3'] if by_epoch else ['iter_12', 'iter_8']
    assert sorted(path.stem for path in tmp_path.glob('[ei]*.pth')) == names


def test_what_hooks_see_of_a_run_by_epochs(tmp_path):
    seen = []

    class See(Hook):
        def before_train_epoch(self, runner):
            seen.append(f'epoch {runner.epoch}')

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen.append((runner.iter, batch_idx, len(data_batch['inputs'])))

        def after_train_epoch(self, runner):
            seen.append(f'end {runner.epoch} {self.is_last_train_epoch(runner)}')

        def before_val(self, runner):
            seen.append(f'val {runner.epoch}')

    two = dict(train_cfg__max_epochs=2, train_cfg__val_interval=2)
    runner = Runner.from_cfg(tiny_config(tmp_path, **epochs(**two)))
    runner.register_hook(See())
    runner.train()
    assert seen == [
        'epoch 0', (0, 0, 3), (1, 1, 3), (2, 2, 3), (3, 3, 2), 'end 0 False',
        'epoch 1', (4, 0, 3), (5, 1, 3), (6, 2, 3), (7, 3, 2), 'end 1 True', 'val 2',
    ]  # fmt: skip


def test_a_run_that_stopped_early_is_saved_and_does_not_go_on(tmp_path):
    still = dict(optim_wrapper__optimizer__lr=0.0, param_scheduler=[], train_cfg__val_interval=1)
    patient = dict(type='EarlyStoppingHook', monitor='aAcc', patience=2)
    options = dict(still, default_hooks__checkpoint__interval=100, custom_hooks=[patient])
    stopped = train(tmp_path, **options).iter
    assert stopped < 8
    assert read(tmp_path / f'iter_{stopped}.pth')['meta']['iter'] == stopped

    assert train(tmp_path, resume=True, **options).iter == stopped
    options['custom_hooks'] = [dict(patient, patience=100)]
    assert train(tmp_path, resume=True, **options).iter == 8
