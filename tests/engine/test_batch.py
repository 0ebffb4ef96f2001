"""Every shipped config knows the batch of its learning rate, and a run with another says so."""

import logging
from types import SimpleNamespace

import pytest

from segkit.engine.batch import BatchAccounting
from segkit.engine.config import load_config, shipped_configs


class Accounts(BatchAccounting):
    """The part of a Runner that counts images, for any number of processes."""

    def __init__(self, cfg, world_size: int) -> None:
        self._train_dataloader = cfg.train_dataloader
        self.auto_scale_lr, self.world_size = cfg.auto_scale_lr, world_size
        groups = [dict(lr=cfg.optim_wrapper.optimizer.lr)]
        self.optim_wrapper = SimpleNamespace(optimizer=SimpleNamespace(param_groups=groups))
        self.train_loop = SimpleNamespace(accumulate=1)
        self.logger = logging.getLogger('batch')


@pytest.mark.parametrize('name', sorted(shipped_configs()))
def test_a_shipped_config_is_for_four_gpus_and_the_demo_for_one_process(name):
    cfg = load_config(name)
    processes = 1 if name.endswith('_shapes') else 4
    assert cfg.auto_scale_lr.base_batch_size == processes * cfg.train_dataloader.batch_size


@pytest.mark.parametrize(('gpus', 'warnings'), [(4, 0), (1, 1)])
def test_a_batch_that_is_not_the_recipes_is_reported(gpus, warnings, caplog):
    run = Accounts(load_config('pspnet_r50-d8_512x1024_40k_cityscapes'), gpus)
    with caplog.at_level(logging.INFO, 'batch'):
        run.scale_lr(run.optim_wrapper, run.auto_scale_lr)
    assert len(caplog.messages) == warnings
    if warnings:
        assert 'This run has 2 images per step, its recipe 8' in caplog.text


def test_the_batch_of_the_recipe_outlives_a_change_of_the_loader():
    change = {'train_dataloader.batch_size': 4, 'auto_scale_lr.enable': True}
    run = Accounts(load_config('pspnet_r50-d8_512x1024_40k_cityscapes', change), 4)
    run.scale_lr(run.optim_wrapper, run.auto_scale_lr)
    assert run.optim_wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(0.02)
    assert run.resolve_accumulation(1) == 1


def test_one_gpu_reaches_the_batch_by_accumulation():
    run = Accounts(load_config('psanet_r50-d8_512x512_80k_ade20k'), 1)
    assert run.resolve_accumulation('auto') == 4
