"""A test that is stopped goes on to the result of one never stopped, or says why it cannot."""

import json
from pathlib import Path

import pytest
import torch
from helpers.runs import train
from helpers.tiny_config import tiny_config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook

from segkit.datasets.shapes import ShapesDataset
from segkit.engine import Runner
from segkit.errors import UserError
from segkit.registry import HOOKS, METRICS

BATCHES = 5


@pytest.fixture(scope='module')
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('trained')
    train(folder, train_cfg__max_iters=2)
    return folder / 'iter_2.pth'


class HaltError(Exception):
    pass


@HOOKS.register_module(force=True)
class HaltHook(Hook):
    """Ends the test after ``at`` batches."""

    at = 99

    def before_test_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        if batch_idx >= HaltHook.at:
            raise HaltError


def run(folder: Path, weights: Path, resume: bool = False, at: int = 99, **options) -> dict:
    HaltHook.at = at
    cfg = tiny_config(folder, **options)
    cfg.load_from = str(weights)
    cfg.test_dataloader.dataset.num_images = BATCHES
    cfg.test_cfg = dict(type='TestLoop', resume=resume, save_every=0.0)
    if 'test_evaluator__type' not in options:
        extra = dict(boundary=True, bootstrap=20, picture_file=str(folder / 'pictures.csv'),
                     result_file=str(folder / 'results'))  # fmt: skip
        cfg.test_evaluator.update(extra)
    cfg.custom_hooks = [dict(type='HaltHook')]
    return Runner.from_cfg(cfg).test()


def test_a_stopped_test_ends_at_the_result_of_one_never_stopped(weights, tmp_path, monkeypatch):
    whole = run(tmp_path / 'whole', weights)
    with pytest.raises(HaltError):
        run(tmp_path / 'halted', weights, at=3)
    assert len(list((tmp_path / 'halted/test_progress').iterdir())) == 1
    read = []
    get_data_info = ShapesDataset.get_data_info

    def note(self, index):
        read.append(index)
        return get_data_info(self, index)

    monkeypatch.setattr(ShapesDataset, 'get_data_info', note)
    again = run(tmp_path / 'halted', weights, resume=True)
    assert again == whole
    assert set(read) == {3, 4}
    assert not (tmp_path / 'halted/test_progress').exists()
    for name in ('pictures.csv', 'results.csv', 'results.json'):
        one, two = ((tmp_path / f / name).read_text() for f in ('whole', 'halted'))
        assert one == two, name
    # Nothing is left to go on with: it tests from the start.
    assert run(tmp_path / 'halted', weights, resume=True) == whole


def test_what_cannot_be_gone_on_with_says_why(weights, tmp_path, monkeypatch):
    with pytest.raises(HaltError):
        run(tmp_path, weights, at=2)
    (file,) = (tmp_path / 'test_progress').iterdir()
    kept = file.read_bytes()
    other = torch.load(weights, weights_only=True)
    other['state_dict'] = {
        k: v * 2 if v.is_floating_point() else v for k, v in other['state_dict'].items()
    }
    torch.save(other, tmp_path / 'other.pth')
    with pytest.raises(UserError, match='another checkpoint'):
        run(tmp_path, tmp_path / 'other.pth', resume=True)
    with pytest.raises(UserError, match='another config'):
        run(tmp_path, weights, resume=True, model__test_cfg__mode='slide',
            model__test_cfg__crop_size=(32, 32), model__test_cfg__stride=(16, 16))  # fmt: skip
    load_data_list = ShapesDataset.load_data_list

    def renamed(self) -> list[dict]:
        """As many, and others."""
        return [{**i, 'img_path': f'x{i["img_path"]}'} for i in load_data_list(self)]

    with monkeypatch.context() as patch:
        patch.setattr(ShapesDataset, 'load_data_list', renamed)
        with pytest.raises(UserError, match='another data'):
            run(tmp_path, weights, resume=True)
    file.write_bytes(kept[:300])
    with pytest.raises(UserError, match=r'00000-of-00001\.pth.*cannot be read'):
        run(tmp_path, weights, resume=True)
    file.rename(file.with_name('00000-of-00002.pth'))
    with pytest.raises(UserError, match='has 2 processes, and this one 1'):
        run(tmp_path, weights, resume=True)
    # Without --resume what was there goes.
    run(tmp_path, weights)
    assert not (tmp_path / 'test_progress').exists()
    assert json.loads((tmp_path / 'results.json').read_text())


@METRICS.register_module(force=True)
class ForeignMetric(BaseMetric):
    """One of somebody's, which cannot say what it has counted."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(1)

    def compute_metrics(self, results) -> dict:
        return dict(count=len(results))


def test_a_metric_that_cannot_be_saved(weights, tmp_path):
    cfg = tiny_config(tmp_path)
    cfg.load_from, cfg.test_evaluator = str(weights), dict(type='ForeignMetric')
    cfg.test_cfg = dict(type='TestLoop', save_every=0.0)
    assert Runner.from_cfg(cfg).test() == dict(count=3)
    cfg.test_cfg = dict(type='TestLoop', resume=True)
    with pytest.raises(UserError, match=r'--resume: test_evaluator has ForeignMetric'):
        Runner.from_cfg(cfg).test()
