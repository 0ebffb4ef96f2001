"""Misspelt configs: the message names the file, the place and the nearest right name."""

import re

import pytest
from helpers.tiny_config import tiny_config
from torch import nn

from segkit.engine import ConfigError, check_config
from segkit.engine.config import load_config
from segkit.engine.config_check import accepted_arguments
from segkit.engine.config_files import shipped_configs
from segkit.registry import MODELS


def message(**options) -> str:
    with pytest.raises(ConfigError) as caught:
        check_config(tiny_config('w', **options))
    return str(caught.value).partition('.py: ')[2]


@pytest.mark.parametrize(
    ('options', 'path', 'right'),
    [
        (dict(parm_scheduler=[]), 'parm_scheduler', 'param_scheduler'),
        (dict(train_dataloder=1), 'train_dataloder', 'train_dataloader'),
        (dict(model__decode_head__chanels=3), 'model.decode_head.chanels', 'channels'),
        (dict(model__backbone__dept=50), 'model.backbone.dept', 'depth'),
        (dict(model__data_preprocessor__mena=1), 'model.data_preprocessor.mena', 'mean'),
        (dict(model__decode_head__loss_decode__loss_weigth=1),
         'model.decode_head.loss_decode.loss_weigth', 'loss_weight'),
        (dict(model__test_cfg__mod='slide'), 'model.test_cfg.mod', 'mode'),
        (dict(model__decode_head__type='PSPHed'), 'model.decode_head.type', 'PSPHead'),
        (dict(model__backbone__norm_cfg__type='SyncBM'), 'model.backbone.norm_cfg', 'SyncBN'),
        (dict(default_hooks__checkpont=dict(interval=1)), 'default_hooks.checkpont', 'checkpoint'),
        (dict(default_hooks__logger__intervall=1), 'default_hooks.logger.intervall', 'interval'),
        (dict(train_dataloader__batchsize=3), 'train_dataloader.batchsize', 'batch_size'),
        (dict(train_dataloader__dataset__num_image=3),
         'train_dataloader.dataset.num_image', 'num_images'),
        (dict(train_dataloader__sampler__shufle=1), 'train_dataloader.sampler.shufle', 'shuffle'),
        (dict(train_dataloader__dataset__pipeline=[dict(type='Resise')]),
         'train_dataloader.dataset.pipeline[0].type', 'Resize'),
        (dict(optim_wrapper__optimizer__type='SDG'), 'optim_wrapper.optimizer.type', 'SGD'),
        (dict(optim_wrapper__optimizer__momentun=1),
         'optim_wrapper.optimizer.momentun', 'momentum'),
        (dict(optim_wrapper__clip_grad=dict(maxnorm=1)),
         'optim_wrapper.clip_grad.maxnorm', 'max_norm'),
        (dict(param_scheduler=[dict(type='PolyLr')]), 'param_scheduler[0].type', 'PolyLR'),
        (dict(param_scheduler=[dict(type='PolyLR', powr=1)]), 'param_scheduler[0].powr', 'power'),
        (dict(train_cfg__max_iter=5), 'train_cfg.max_iter', 'max_iters'),
        (dict(val_evaluator__iou_metric=1), 'val_evaluator.iou_metric', 'iou_metrics'),
        (dict(env_cfg__cudnn_bench=1), 'env_cfg.cudnn_bench', 'cudnn_benchmark'),
        (dict(randomness__sed=1), 'randomness.sed', 'seed'),
        (dict(custom_hooks=[dict(type='EarlyStopingHook')]),
         'custom_hooks[0].type', 'EarlyStoppingHook'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)  # fmt: skip
def test_a_slip_is_named_with_its_place_and_its_cure(options, path, right):
    said = message(**options)
    assert said.startswith(f'{path}: ')
    assert f"'{right}'" in said


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(model=None), 'model: not set'),
        (dict(model='EncoderDecoder'), "model: 'EncoderDecoder' must be a dict"),
        (dict(custom_hooks='EMAHook'), "custom_hooks: 'EMAHook' must be a list"),
        (dict(custom_hooks=dict(type='EMAHook')), 'must be a list'),
        (dict(custom_hooks=['EMAHook']), "custom_hooks[0]: 'EMAHook' must be a dict"),
        (dict(custom_hooks=[dict(type='EMAHook')], model_wrapper_cfg=dict(type='FSDP2')),
         'custom_hooks: EMAHook copies whole parameters, which FSDP2 does not have'),
    ],
)  # fmt: skip
def test_what_the_runner_could_not_build_is_named(options, said):
    cfg = tiny_config('w')
    cfg._cfg_dict.update(options)

    with pytest.raises(ConfigError, match=re.escape(said)):
        check_config(cfg)


def test_half_of_a_triple_is_named():
    assert message(val_cfg=None).startswith('val_cfg: not set, but val_dataloader, val_evaluator')


def test_the_file_is_named():
    cfg = load_config('pspnet_r50-d8_512x512_80k_ade20k', {'model.decode_head.pool_scale': 1})
    with pytest.raises(ConfigError, match=r'80k_ade20k\.py: model\.decode_head\.pool_scale'):
        check_config(cfg)


@pytest.mark.parametrize(
    'options',
    [
        dict(my_own_variable=3, crop=(1, 2), backbone_lr=0.1, train_images=7),
        dict(custom_hooks=[dict(type='EMAHook', momentum=0.001, priority=49)]),
        dict(param_scheduler=[dict(type='PolyLR', convert_to_iter_based=False, by_epoch=False)]),
        dict(optim_wrapper__paramwise_cfg=dict(custom_keys={'head': dict(lr_mult=10.0)})),
        dict(model__backbone__norm_cfg=dict(type='GN', num_groups=2, requires_grad=True)),
        dict(model__decode_head__sampler=dict(type='OHEMPixelSampler', thresh=0.7)),
        dict(model__backbone__type='mmpretrain.VisionTransformer', model__backbone__patch=3),
        dict(default_hooks__my_hook=dict(type='EmptyCacheHook')),
        dict(default_hooks__visualization=None, train_cfg__accumulate='auto'),
        dict(train_dataloader__prefetch_factor=4, train_dataloader__pin_memory=True),
        dict(train_dataloader__dataset__metainfo=dict(classes=['a'], palette=[[0, 0, 0]])),
        dict(val_cfg={}, test_cfg={}),
    ],
)
def test_a_legal_config_passes(options):
    check_config(tiny_config('w', **options))


def test_shipped_configs_pass():
    names = sorted(shipped_configs())
    assert len(names) > 60
    for name in names[::7]:
        check_config(load_config(name))


@pytest.mark.parametrize('size', [0, -1, 1.5, 'two'])
def test_a_batch_has_at_least_one_image(size):
    wrong = message(test_dataloader__batch_size=size)
    assert wrong.startswith(f'test_dataloader.batch_size: {size!r} must be a whole number')


def test_arguments_are_followed_up_to_a_class_without_kwargs():
    class Base(nn.Module):
        def __init__(self, width: int, *, depth: int = 1) -> None: ...

    class Child(Base):
        def __init__(self, extra: int, **kwargs) -> None:
            super().__init__(**kwargs)

    class Free:
        def __init__(self, a: int, **kwargs) -> None: ...

    assert accepted_arguments(Base) == {'width', 'depth'}
    # What somebody's class does with its kwargs, it alone knows; ours hand them on.
    assert accepted_arguments(Child) is None
    Child.__init__.__module__ = 'segkit.models'
    assert accepted_arguments(Child) == {'width', 'depth', 'extra'}
    Free.__init__.__module__ = 'segkit.models'
    assert accepted_arguments(Free) is None
    assert 'pool_scales' in accepted_arguments(MODELS.get('PSPHead'))
    assert 'dropout_ratio' in accepted_arguments(MODELS.get('PSPHead'))
