"""Converted configs train two iterations and test.

Here those of tests/helpers/old_configs.py, on a small ResNet, in the ways in which older configs
differ. SEGKIT_OLDER_CONFIGS=FOLDER names a folder of mmsegmentation's own configs (the
`.mim/configs` of its wheel): each of our networks in it is then converted, trained and tested, too.
"""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.old_configs import v0_config
from helpers.older_runs import ITERATIONS, make_pictures, shrink, train_and_test
from mmengine.config import Config

from segkit.engine.migration import convert, leaf_text, same_parameters

FOLDER = os.environ.get('SEGKIT_OLDER_CONFIGS', '')
NETWORKS = ('danet', 'fcn', 'isanet', 'psanet', 'pspnet')
FILES = [path for name in NETWORKS for path in sorted(Path(FOLDER).glob(f'{name}/*.py')) if FOLDER]

_SGD = "optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)"
_POLY = "lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)"
_RUNNER = r"runner = dict\(type='IterBasedRunner', max_iters=\d+\)"
# What is special -> config it is made of, and (pattern, replacement) in its text.
VARIANTS = {
    'sliding windows, 60 classes': ('fcn_r50-d8_480x480_40k_pascal_context', []),
    'two label folders': ('pspnet_r50-d8_512x512_20k_voc12aug', []),
    'a zero label': ('psanet_r50-d8_512x512_160k_ade20k', []),
    'corners aligned': ('danet_r50-d8_769x769_80k_cityscapes', []),
    'blocks of 8': ('isanet_r50-d8_512x1024_40k_cityscapes', []),
    'steps after a warm-up, AdamW, clipped gradients': (
        'fcn_r50-d8_512x1024_40k_cityscapes', [
            (re.escape(_POLY), "lr_config = dict(policy='step', warmup='linear', warmup_iters=1000,"
             " warmup_ratio=0.001, step=[6000, 7200], by_epoch=False)"),
            (re.escape(_SGD), "optimizer = dict(type='AdamW', lr=0.0005, weight_decay=0.05)"),
            (r'optimizer_config = dict\(\)', 'optimizer_config = dict(grad_clip=dict(max_norm=1))'),
        ]),
    'epochs, a cosine': (
        'fcn_r50-d8_512x1024_40k_cityscapes', [
            (_RUNNER, "runner = dict(type='EpochBasedRunner', max_epochs=9)"),
            (re.escape(_POLY), "lr_config = dict(policy='CosineAnnealing', min_lr=1e-5)"),
        ]),
    'half precision': (
        'pspnet_r50-d8_512x1024_40k_cityscapes', [
            (r'optimizer_config = dict\(\)',
             "optimizer_config = dict(type='Fp16OptimizerHook', loss_scale=512.)\nfp16 = dict()"),
        ]),
    'a data set of folders, with classes': (
        'fcn_r50-d8_512x1024_40k_cityscapes', [
            ("'CityscapesDataset'", "'CustomDataset'"),
            ('pipeline=train_pipeline',
             'pipeline=train_pipeline, classes=list("abcdefghijklmnopqrs")'),
        ]),
    'a data set that is not here': (
        'fcn_r50-d8_512x1024_40k_cityscapes', [("'CityscapesDataset'", "'DRIVEDataset'")]),
    'repeated': (
        'fcn_r50-d8_512x1024_40k_cityscapes', [
            (r'train=dict\((.*?), pipeline=train_pipeline\)',
             r"train=dict(type='RepeatDataset', times=4, dataset=dict(\1,"
             r' pipeline=train_pipeline))'),
        ]),
}  # fmt: skip
_SMALLER = [
    (r'depth=50', 'depth=18, base_channels=8, stem_channels=8'),
    (r'in_channels=2048', 'in_channels=64'),
    (r'in_channels=1024', 'in_channels=32'),
    (r'channels=512,', 'channels=32,'),
    (r'channels=256, num_convs', 'channels=16, num_convs'),
    (r'pam_channels=64', 'pam_channels=8'),
    (r'isa_channels=256', 'isa_channels=16'),
    (r'mask_size=\(\d+, \d+\)', 'mask_size=(17, 17)'),
]


def older(variant: str) -> Config:
    """The 0.x config of a variant, of few channels."""
    name, changes = VARIANTS[variant]
    text = v0_config(name)
    for pattern, replacement in [*_SMALLER, *changes]:
        changed = re.sub(pattern, replacement, text, flags=re.DOTALL)
        assert changed != text or (pattern, replacement) in _SMALLER
        text = changed
    return Config.fromstring(text, '.py')


def converted(old: Config) -> Config:
    """Through the leaf that the tool would write."""
    config = convert(old).config
    assert same_parameters(old.model, config.model) == []
    text = leaf_text(config)
    assert text is not None
    assert 'segkit::_base_/models/' in text
    return Config.fromstring(text, '.py')


@pytest.mark.parametrize('variant', VARIANTS)
def test_a_converted_config_trains_and_tests(variant, tmp_path, monkeypatch):
    config = converted(older(variant))
    monkeypatch.chdir(tmp_path)
    make_pictures(config, tmp_path, count=4)
    losses, scores = train_and_test(shrink(config, tmp_path / 'run', side=48))
    assert len(losses) >= ITERATIONS
    assert np.isfinite(losses).all()
    assert 0 <= scores['aAcc'] <= 100


@pytest.mark.skipif(not FOLDER, reason='SEGKIT_OLDER_CONFIGS names no folder')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_config_of_the_folder_trains_and_tests(path, tmp_path, monkeypatch):
    config = converted(Config.fromfile(path))
    monkeypatch.chdir(tmp_path)
    make_pictures(config, tmp_path)
    losses, scores = train_and_test(shrink(config, tmp_path / 'run'))
    assert len(losses) == ITERATIONS
    assert np.isfinite(losses).all()
    assert 0 <= scores['aAcc'] <= 100


def test_what_a_schedule_becomes():
    steps = converted(older('steps after a warm-up, AdamW, clipped gradients'))
    warm, main = steps.param_scheduler
    assert (warm.type, warm.start_factor, warm.end) == ('LinearLR', 0.001, 1000)
    # From the start of training at 6,000 and 7,200; a scheduler counts from its own beginning.
    assert (main.type, main.begin, main.milestones) == ('MultiStepLR', 1000, [5000, 6200])
    assert steps.optim_wrapper.clip_grad == dict(max_norm=1)
    epochs = converted(older('epochs, a cosine'))
    assert epochs.train_cfg.max_epochs == 9
    assert dict(epochs.param_scheduler[0]) == dict(
        type='CosineAnnealingLR', T_max=9, eta_min=1e-5, begin=0, end=9, by_epoch=True
    )
    half = converted(older('half precision')).optim_wrapper
    assert (half.type, half.loss_scale) == ('AmpOptimWrapper', 512.0)


def test_classes_without_names_are_numbered_and_said():
    found = convert(older('a data set that is not here'))
    assert any('metainfo.classes' in line for line in found.left_out)
    dataset = found.config.train_dataloader.dataset
    assert (dataset.type, dataset.seg_map_suffix) == ('BaseSegDataset', '_manual1.png')
    assert len(dataset.metainfo.classes) == 19


def test_a_config_equal_to_parts_of_ours_becomes_a_leaf_without_their_values():
    config = convert(Config.fromstring(v0_config('danet_r50-d8_512x512_160k_ade20k'), '.py')).config
    text = leaf_text(config)
    assert "'segkit::_base_/datasets/ade20k.py'" in text
    assert "'segkit::_base_/schedules/schedule_160k.py'" in text
    assert 'train_pipeline' not in text
    assert 'optim_wrapper' not in text
    assert 'num_classes=150' in text
    assert text.count('\n') < 60
