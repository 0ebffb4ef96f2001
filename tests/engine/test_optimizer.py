"""Every shipped config knows the batch of its learning rate, and a run with another says so."""

from types import SimpleNamespace

import pytest

from segkit.engine.config import load_config
from segkit.engine.config_files import shipped_configs
from segkit.engine.optimizer import accumulation, batch_of, scale_rates


def rates(cfg, gpus: int) -> tuple[str, float]:
    """What is said of a run on so many GPUs, and its learning rate."""
    group = dict(lr=cfg.optim_wrapper.optimizer.lr)
    wrapper = SimpleNamespace(optimizer=SimpleNamespace(param_groups=[group]))
    said = scale_rates(wrapper, cfg.auto_scale_lr, gpus * batch_of(cfg.train_dataloader))
    return said, group['lr']


@pytest.mark.parametrize('name', sorted(shipped_configs()))
def test_a_shipped_config_is_for_four_or_eight_gpus_and_the_demo_for_one_process(name):
    cfg = load_config(name)
    alone = shipped_configs()[name].parent.name == 'demo' or name.endswith('_camvid')
    processes = 1 if alone else 8 if name.startswith('segformer') else 4
    assert cfg.auto_scale_lr.base_batch_size == processes * cfg.train_dataloader.batch_size


def test_a_batch_that_is_not_the_recipes_is_reported():
    cfg = load_config('pspnet_r50-d8_512x1024_40k_cityscapes')
    assert rates(cfg, 4) == ('', cfg.optim_wrapper.optimizer.lr)
    said, rate = rates(cfg, 1)
    assert 'This run has 2 images per step, its recipe 8' in said
    assert rate == cfg.optim_wrapper.optimizer.lr


def test_the_batch_of_the_recipe_outlives_a_change_of_the_loader():
    change = {'train_dataloader.batch_size': 4, 'auto_scale_lr.enable': True}
    cfg = load_config('pspnet_r50-d8_512x1024_40k_cityscapes', change)
    said, rate = rates(cfg, 4)
    assert rate == pytest.approx(0.02)
    assert 'times 16/8' in said
    assert accumulation(1, 4, 4, 8) == (1, '')


def test_several_optimizers_are_scaled_alike():
    groups = [dict(lr=0.1), dict(lr=1.0)]
    wrappers = [SimpleNamespace(optimizer=SimpleNamespace(param_groups=[g])) for g in groups]
    both = dict(zip('ab', wrappers))
    scale_rates(both, dict(base_batch_size=4, enable=True), 8)
    assert [group['lr'] for group in groups] == [0.2, 2.0]


def test_one_gpu_reaches_the_batch_by_accumulation():
    cfg = load_config('psanet_r50-d8_512x512_80k_ade20k')
    batch = batch_of(cfg.train_dataloader)
    count, said = accumulation('auto', batch, 1, cfg.auto_scale_lr.base_batch_size)
    assert count == 4
    assert f"keeps the recipe's {4 * batch} images" in said
