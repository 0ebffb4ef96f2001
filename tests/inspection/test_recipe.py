"""Networks by name and sizes by data: each name builds a network whose parts fit together."""

import pytest
import torch
from helpers.layouts import LAYOUTS
from helpers.run_tool import run_tool

from segkit.engine import check_config
from segkit.engine.config import load_config
from segkit.inspection.recipe import DEPTHS, HEADS, NETWORKS, find_network, recipe_for
from segkit.models.layers import revert_sync_bn
from segkit.registry import MODELS


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('set')
    LAYOUTS['kinds in splits'].fill(folder)
    return folder


def written(root, *options):
    assert run_tool('new_dataset', root, '--workers', 0, '--force', *options)[0] == 0
    return load_config(root / 'config.py')


def test_every_name_builds(root):
    assert len(NETWORKS) == len(HEADS) * len(DEPTHS) + 6 == 38
    sizes = []
    for name in NETWORKS:
        cfg = written(root, '--network', name)
        check_config(cfg)
        with torch.device('meta'):
            sizes.append(sum(p.numel() for p in MODELS.build(cfg.model).parameters()))
    mixed, sizes = sizes[-6:], sizes[:-6]
    assert mixed == sorted(mixed)
    by_depth = [max(sizes[i : i + len(HEADS)]) for i in range(0, len(sizes), len(HEADS))]
    assert by_depth == sorted(by_depth)
    assert sizes[0] < 13e6  # the smallest first


SMALL = [name for name in NETWORKS if '_r18' in name or name.endswith('b0')]


@pytest.mark.parametrize('name', SMALL)
def test_small_networks_train_and_predict(root, name):
    cfg = written(root, '--network', name)
    model = revert_sync_bn(MODELS.build(cfg.model))
    out = model.eval()(torch.zeros(1, 3, 48, 64))
    assert out.shape[:2] == (1, 3)
    assert len(SMALL) == len(HEADS) + 1


def test_a_transformer_is_trained_with_adamw(root):
    cfg = written(root, '--network', 'segformer_mit-b2', '--pretrained', '--batch-size', 4)
    assert cfg.model.pretrained.endswith('mit_b2_20220624-66e8bf70.pth')
    assert cfg.model.auxiliary_head is None
    optimizer, (warm_up, poly) = cfg.optim_wrapper.optimizer, cfg.param_scheduler
    assert (optimizer.type, optimizer.lr) == ('AdamW', 0.00005)
    assert (warm_up.end, poly.begin, poly.end) == (20, 20, cfg.train_cfg.max_iters) == (20, 20, 400)


def test_sizes_follow_data_and_machine():
    cpu, gpu = (recipe_for(200, (1080, 1920), gpu=gpu) for gpu in (False, True))
    assert (cpu.network.name, gpu.network.name) == ('pspnet_r18-d8', 'pspnet_r50-d8')
    assert (cpu.scale, gpu.scale) == ((1024, 576), (1920, 1080))
    assert (cpu.crop, gpu.crop) == ((256, 256), (512, 512))
    assert (cpu.iterations, gpu.iterations) == (2000, 5000)
    assert recipe_for(3, (50, 70), gpu=False).crop == (48, 64)
    assert recipe_for(3, (50, 70), gpu=False).iterations == 400
    own = recipe_for(3, (50, 70), gpu=True, batch=8, crop=(32, 40), iterations=7)
    assert (own.batch, own.crop, own.iterations, own.rate) == (8, (32, 40), 7, 0.01)


def test_weights_and_schedules_are_named_as_they_are(root):
    assert written(root).model.pretrained is None
    cfg = written(root, '--pretrained', '--network', 'fcn_r50-d8', '--schedule', 'schedule_40k')
    assert cfg.model.pretrained == 'open-mmlab://resnet50_v1c'
    assert cfg.train_cfg.max_iters == 40000
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.005, momentum=0.9, weight_decay=0.0005
    )
    for options, words in (
        (('--network', 'unet'), '--network unet: there is no such part; known: fcn_r18-d8'),
        (('--network', 'fcn_r34-d8', '--pretrained'), 'no weights were published for fcn_r34-d8'),
        (('--schedule', 'x'), '--schedule x: there is no such part; known: schedule_150k'),
    ):
        status, text = run_tool('new_dataset', root, '--workers', 0, '--force', *options)
        assert status == 1
        assert words in text
    assert find_network('psanet_r101-d8').changes == {'backbone': {'depth': 101}}
