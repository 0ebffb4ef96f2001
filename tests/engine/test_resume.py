"""Finding the checkpoint to go on from: the newest whole one, wherever the folder has moved."""

import json
import shutil

import pytest
import torch
from helpers.tiny_config import tiny_config

from segkit.engine import Runner
from segkit.engine.checkpoints import candidates, load_latest, load_verified
from segkit.engine.config import config_differences
from segkit.weights import CheckpointError


@pytest.fixture
def work_dir(tmp_path):
    """Checkpoints of iterations 2, 4 and 10, the last one noted."""
    for number in (2, 4, 10):
        torch.save(dict(meta=dict(iter=number), state_dict={}), tmp_path / f'iter_{number}.pth')
    (tmp_path / 'best_mIoU_iter_4.pth').write_bytes(b'')
    (tmp_path / 'last_checkpoint').write_text('iter_10.pth')
    return tmp_path


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))


def test_newest_first_by_number_not_by_name(work_dir):
    assert [p.name for p in candidates(work_dir)] == ['iter_10.pth', 'iter_4.pth', 'iter_2.pth']


def test_the_noted_one_comes_first(work_dir):
    (work_dir / 'last_checkpoint').write_text('iter_4.pth')
    said = []
    assert candidates(work_dir, said.append)[0].name == 'iter_4.pth'
    assert 'names iter_4.pth, although iter_10.pth is there' in said[0]


def test_a_moved_folder_is_resumed_from(work_dir, tmp_path_factory):
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'iter_4.pth'))  # as mmengine writes
    moved = tmp_path_factory.mktemp('moved') / 'run'
    shutil.move(work_dir, moved)
    path, checkpoint = load_latest(moved, print)
    assert path == moved / 'iter_4.pth'
    assert checkpoint['meta']['iter'] == 4


@pytest.mark.parametrize('damage', ['truncate', 'empty', 'flip', 'remove'])
def test_a_damaged_last_checkpoint_falls_back_and_says_so(work_dir, damage):
    last = work_dir / 'iter_10.pth'
    if damage == 'truncate':
        last.write_bytes(last.read_bytes()[:-200])
    elif damage == 'empty':
        last.write_bytes(b'')
    elif damage == 'flip':
        flip_a_byte(last)
    else:
        last.unlink()
    said = []
    path, _ = load_latest(work_dir, said.append)
    assert path.name == 'iter_4.pth'
    if damage != 'remove':
        assert len(said) == 1
        assert 'iter_10.pth cannot be resumed from' in said[0]
        assert 'trying the one before' in said[0]


@pytest.mark.parametrize('content', [b'', b'\xff\x00', b'iter_99.pth', b'\0', b'.', b'x' * 9999])
def test_a_damaged_pointer_is_said_and_the_highest_number_taken(work_dir, content):
    (work_dir / 'last_checkpoint').write_bytes(content)
    said = []
    path, _ = load_latest(work_dir, said.append)
    assert path.name == 'iter_10.pth'
    assert 'the checkpoint of the highest number is taken' in said[0]


def test_a_pointer_that_is_a_folder_is_said_too(work_dir):
    (work_dir / 'last_checkpoint').unlink()
    (work_dir / 'last_checkpoint').mkdir()
    assert load_latest(work_dir, print)[0].name == 'iter_10.pth'


def test_weights_alone_are_no_state_to_go_on_from(work_dir):
    torch.save(dict(state_dict=dict(w=torch.zeros(3))), work_dir / 'iter_11.pth')
    (work_dir / 'last_checkpoint').write_text('iter_11.pth')
    said = []
    assert load_latest(work_dir, said.append)[0].name == 'iter_10.pth'
    assert 'holds no state of a training run (meta missing)' in said[0]
    with pytest.raises(CheckpointError, match='--load-from '):
        load_verified(work_dir / 'iter_11.pth')


def test_a_config_that_cannot_be_read_is_said():
    for text in ('{', '[' * 9999, 5):
        assert 'cannot be read' in config_differences(text, {})[0]


def test_all_damaged_is_an_error_and_no_silent_restart(work_dir):
    for path in work_dir.glob('iter_*.pth'):
        path.write_bytes(b'gone')
    with pytest.raises(CheckpointError, match='none of its 3 checkpoints can be read'):
        load_latest(work_dir, lambda text: None)


def test_an_empty_folder_has_nothing_to_resume(tmp_path):
    assert load_latest(tmp_path, print) is None


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no\.pth: there is no such checkpoint'):
        load_verified(tmp_path / 'no.pth')


def test_differences_name_the_key_and_both_values():
    before = dict(model=dict(depth=50, norm=dict(type='BN')), work_dir='a', lr=[0.1])
    now = dict(model=dict(depth=101, norm=dict(type='BN')), work_dir='b', lr=[0.1], new=1)
    lines = config_differences(json.dumps(before), now)
    assert lines == ['model.depth: 50 -> 101', "new: '(not set)' -> 1"]


def test_a_seed_is_no_part_of_the_recipe():
    before = dict(randomness=dict(seed=1, deterministic=False))
    assert config_differences(json.dumps(before), dict(randomness=dict(seed=2))) == []


def test_tuples_and_lists_are_the_same_setting():
    assert config_differences(json.dumps(dict(size=[2, 3])), dict(size=(2, 3))) == []


def test_what_the_checkpoint_brings_with_it_is_said_to_have_no_effect(tmp_path, capfd):
    given = dict(train_cfg__max_iters=4, train_cfg__val_interval=4)
    Runner.from_cfg(tiny_config(tmp_path, **given)).train()
    assert 'of no effect' not in ''.join(capfd.readouterr())
    changed = tiny_config(tmp_path, train_cfg__max_iters=6, train_cfg__val_interval=4, resume=True)
    changed.optim_wrapper.optimizer.lr *= 2
    changed.param_scheduler[0].end = 6
    runner = Runner.from_cfg(changed)
    runner.train()
    said = ''.join(capfd.readouterr())
    assert 'optim_wrapper.optimizer.lr, param_scheduler.0.end: of no effect here' in said
    assert f'--load-from {tmp_path}/iter_4.pth, without --resume' in said
    assert 'train_cfg.max_iters, ' not in said
    assert runner.iter == 6
    first = Runner.from_cfg(tiny_config(tmp_path / 'first', **given))
    first._build_training()
    assert runner.param_schedulers[0].end == first.param_schedulers[0].end  # which is as it was
