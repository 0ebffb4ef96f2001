"""A run that was stopped and resumed ends, bit for bit, where a run never stopped ends."""

import pytest
import torch
from helpers.runs import assert_same_run, differences, read, train, train_until

from segkit.datasets.shapes import ShapesDataset

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
        PASSES,
    ],
    ids=['ema', 'accumulate', 'mid-step', 'workers', 'amp', 'adamw', 'deterministic', 'passes'],
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
