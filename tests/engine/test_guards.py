"""What stops a run in time, seen from inside the process."""

import os
import signal

import pytest
import torch
from helpers.runs import read
from helpers.tiny_config import tiny_config

from segkit.engine import ConfigError, Runner
from segkit.engine.errors import TrainingError


def run_with_step(work_dir, iteration: int, change, **options) -> None:
    """Train, calling ``change(runner, outputs)`` after the step of ``iteration`` (from 1)."""
    runner = Runner.from_cfg(tiny_config(work_dir, **options))
    step = runner.model.train_step

    def changed_step(*args, **kwargs):
        outputs = step(*args, **kwargs)
        if runner.iter + 1 == iteration:
            change(runner, outputs)
        return outputs

    runner.model.train_step = changed_step
    runner.train()


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_loss_that_is_no_number_stops_before_the_save(tmp_path, value):
    def spoil(runner, outputs):
        outputs['decode.loss_ce'] = torch.tensor(value)

    message = r"not finite at iteration 4: \{'decode\.loss_ce'.*'lr': 0\.00.*shapes/train/.*iter_2"
    with pytest.raises(TrainingError, match=message):
        run_with_step(tmp_path, 4, spoil)
    assert not (tmp_path / 'iter_4.pth').exists()


class Copied:
    """The event of a copy from a GPU that has finished."""

    def query(self):
        return True

    def synchronize(self):
        pass


def test_labels_that_a_gpu_found_to_be_no_class_stop_before_the_save(tmp_path):
    def find(runner, outputs):
        label, meta = torch.full((1, 1, 4, 4), 77), {'seg_map_path': 'a.png'}
        check = runner.model.decode_head.label_check
        check._pending.append((Copied(), torch.tensor(True), label, [meta]))

    with pytest.raises(ValueError, match=r'Label map a\.png: label value\(s\) 77'):
        run_with_step(tmp_path, 4, find)
    assert (tmp_path / 'iter_2.pth').exists()
    assert not (tmp_path / 'iter_4.pth').exists()


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    def spoil(runner, outputs):
        runner.model.backbone.layer1[0].conv1.weight.data[0] = float('nan')

    message = r'iter_4\.pth is not written: 1 weights are nan or inf, backbone\.layer1\.0\.conv1'
    with pytest.raises(TrainingError, match=message):
        run_with_step(tmp_path, 4, spoil)
    assert read(tmp_path / 'iter_2.pth')['meta']['iter'] == 2


def test_a_signal_saves_the_iteration_under_way(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def interrupt(runner, outputs):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as stopped:
        run_with_step(tmp_path, 3, interrupt)
    assert stopped.value.code == 75
    assert read(tmp_path / 'iter_3.pth')['meta']['iter'] == 3
    assert (tmp_path / 'last_checkpoint').read_text() == 'iter_3.pth'
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_metric_to_save_by_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"save_best='mDice' is not among.*aAcc, .*mIoU"):
        run_with_step(tmp_path, 0, None, default_hooks__checkpoint__save_best='mDice')
