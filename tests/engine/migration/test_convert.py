"""Old configs become ours: same parameters, same values as the shipped config of their name."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.old_configs import FAMILIES, v0_config
from mmengine.config import Config

from segkit.engine.config import load_config
from segkit.engine.migration import RENAMED, convert, differences, generation, same_parameters

ROOT = Path(__file__).resolve().parents[3]
SECTIONS = (
    'model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'optim_wrapper',
    'param_scheduler', 'train_cfg', 'val_evaluator', 'aug_test',
)  # fmt: skip


def against_shipped(converted, name):
    shipped = load_config(name)
    return [
        line
        for section in SECTIONS
        for line in differences(converted.get(section), shipped.get(section), section)
    ]


def as_v1(name):
    """A 1.x config of the same family: scoped types and its own multi-scale sections."""
    cfg = load_config(name).to_dict()
    for part in ('backbone', 'decode_head', 'auxiliary_head'):
        cfg['model'][part]['type'] = 'mmseg.' + cfg['model'][part]['type']
    ratios = cfg.pop('aug_test')['img_ratios']
    tta = dict(type='SegTTAModel')
    return Config(
        {
            **cfg,
            'default_scope': 'mmseg',
            'img_ratios': ratios,
            'tta_model': tta,
            'tta_pipeline': [],
        }
    )


def test_every_family_of_the_table_is_there():
    assert len(FAMILIES) == 5 * 2 * 4 + 3


@pytest.mark.parametrize('name', FAMILIES)
def test_a_0x_config_becomes_the_shipped_one(name):
    converted, source, left_out = convert(Config.fromstring(v0_config(name), '.py'))
    assert (source, left_out) == ('0.x', [])
    assert against_shipped(converted, name) == []


@pytest.mark.parametrize('name', FAMILIES)
def test_a_1x_config_becomes_the_shipped_one(name):
    converted, source, _ = convert(as_v1(name))
    assert source == '1.x'
    assert converted.default_scope == 'segkit'
    assert 'tta_model' not in converted
    assert against_shipped(converted, name) == []


def test_warm_up_accumulation_and_clipping_are_taken_over():
    text = v0_config(FAMILIES[0]).replace(
        'optimizer_config = dict()', 'optimizer_config = dict(grad_clip=dict(max_norm=1.0), '
        "type='GradientCumulativeOptimizerHook', cumulative_iters=4)"
    ).replace("policy='poly'", "policy='poly', warmup='linear', warmup_iters=1500")  # fmt: skip
    converted = convert(Config.fromstring(text, '.py')).config
    assert converted.optim_wrapper.clip_grad == dict(max_norm=1.0)
    assert converted.optim_wrapper.accumulative_counts == 4
    assert [s.type for s in converted.param_scheduler] == ['LinearLR', 'PolyLR']
    assert converted.param_scheduler[0].end == converted.param_scheduler[1].begin == 1500


def test_another_schedule_is_refused_by_name():
    text = v0_config(FAMILIES[0]).replace("policy='poly'", "policy='CosineRestart'")
    with pytest.raises(ValueError, match='CosineRestart'):
        convert(Config.fromstring(text, '.py'))


def test_what_has_no_counterpart_is_reported():
    text = v0_config(FAMILIES[0]) + '\nevaluaton = dict(interval=1)\n'
    assert 'evaluation' in convert(Config.fromstring(text, '.py')).left_out[0]


def test_a_part_of_a_config_is_refused():
    with pytest.raises(ValueError, match='leaf config'):
        generation(dict(model=dict()))


def test_networks_that_differ_are_told_apart():
    first, second = (load_config(f'pspnet_r{d}-d8_512x512_80k_ade20k').model for d in (50, 101))
    assert same_parameters(first, first) == []
    assert any('layer3.22.conv1.weight' in line for line in same_parameters(first, second))


def test_the_tool_writes_a_config_and_says_what_differs(tmp_path):
    name = 'danet_r50-d8_512x512_160k_ade20k'
    (tmp_path / f'{name}.py').write_text(v0_config(name).replace('lr=0.01', 'lr=0.02'))
    command = [sys.executable, ROOT / 'tools/convert_config.py', tmp_path / f'{name}.py']
    run = subprocess.run([*command, tmp_path / 'new.py'], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 'same parameters' in run.stdout
    assert '1 differences\noptim_wrapper.optimizer.lr: 0.02 | 0.01' in run.stdout
    assert Config.fromfile(tmp_path / 'new.py').optim_wrapper.optimizer.lr == 0.02


def test_the_table_in_the_guide_is_the_table_in_the_code():
    page = (ROOT / 'docs/migration.md').read_text()
    rows = '\n'.join(f'| `{there}` | `{here}` |' for there, here in RENAMED.items())
    assert rows in page
