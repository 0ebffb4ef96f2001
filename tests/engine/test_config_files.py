"""Configs by the names of both generations; those of 1.x are as its metafiles pair them with the
file names of the weights, which kept the names of 0.x."""

import pytest
from mmengine import registry as roots
from mmengine.registry import Registry

from segkit.engine import Runner, check_config
from segkit.engine.config import load_config
from segkit.engine.config_files import find_config, shipped_configs, words
from segkit.errors import ConfigError
from segkit.model_zoo import read_rows
from segkit.model_zoo.catalog import find

PAIRS = dict(
    line.split()
    for line in """
pspnet_r50-d8_4xb2-40k_cityscapes-512x1024 pspnet_r50-d8_512x1024_40k_cityscapes
pspnet_r101-d8_4xb4-160k_ade20k-512x512 pspnet_r101-d8_512x512_160k_ade20k
pspnet_r50-d8_4xb4-20k_voc12aug-512x512 pspnet_r50-d8_512x512_20k_voc12aug
pspnet_r101-d8_4xb4-80k_pascal-context-480x480 pspnet_r101-d8_480x480_80k_pascal_context
pspnet_r50-d8_4xb4-20k_coco-stuff10k-512x512 pspnet_r50-d8_512x512_4x4_20k_coco-stuff10k
pspnet_r50-d8_4xb4-320k_coco-stuff164k-512x512 pspnet_r50-d8_512x512_4x4_320k_coco-stuff164k
pspnet_r18-d8_4xb4-80k_isaid-896x896 pspnet_r18-d8_4x4_896x896_80k_isaid
pspnet_r18-d8_4xb4-80k_loveda-512x512 pspnet_r18-d8_512x512_80k_loveda
pspnet_r18-d8_4xb4-80k_potsdam-512x512 pspnet_r18-d8_4x4_512x512_80k_potsdam
pspnet_r18-d8_4xb4-80k_vaihingen-512x512 pspnet_r18-d8_4x4_512x512_80k_vaihingen
psanet_r50-d8_4xb2-80k_cityscapes-769x769 psanet_r50-d8_769x769_80k_cityscapes
danet_r101-d8_4xb4-80k_ade20k-512x512 danet_r101-d8_512x512_80k_ade20k
isanet_r101-d8_4xb4-20k_voc12aug-512x512 isanet_r101-d8_512x512_20k_voc12aug
fcn_r50-d8_4xb2-40k_cityscapes-769x769 fcn_r50-d8_769x769_40k_cityscapes
deeplabv3_r101-d16-mg124_4xb2-40k_cityscapes-512x1024
 deeplabv3_r101-d16-mg124_512x1024_40k_cityscapes
deeplabv3plus_r18-d8_4xb2-80k_cityscapes-769x769 deeplabv3plus_r18-d8_769x769_80k_cityscapes
deeplabv3plus_r101-d8_4xb2-amp-80k_cityscapes-512x1024
 deeplabv3plus_r101-d8_fp16_512x1024_80k_cityscapes
upernet_r50_4xb4-160k_ade20k-512x512 upernet_r50_512x512_160k_ade20k
segformer_mit-b5_8xb2-160k_ade20k-640x640 segformer_mit-b5_640x640_160k_ade20k
segformer_mit-b0_8xb1-160k_cityscapes-1024x1024
 segformer_mit-b0_8x1_1024x1024_160k_cityscapes
""".replace('\n ', ' ')
    .strip()
    .splitlines()
)


@pytest.mark.parametrize('theirs', PAIRS)
def test_a_name_of_1_x_is_that_config(theirs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = shipped_configs()[PAIRS[theirs]]
    folder = path.parent.name
    names = [theirs, f'{theirs}.py', f'configs/{folder}/{theirs}.py', f'{folder}/{theirs}.py']
    assert {find_config(name) for name in names} == {path}
    assert find_config(path.with_name(f'{theirs}.py')) == path
    if PAIRS[theirs] in {row.config for row in read_rows()}:
        assert find(read_rows(), theirs).config == PAIRS[theirs]


def test_no_two_shipped_configs_have_the_words_of_one():
    names = shipped_configs()
    assert len({words(name) for name in names}) == len(names) > 200


@pytest.mark.parametrize('scope', ['segkit::', 'mmseg::', 'beside'])
def test_a_base_may_have_a_name_of_1_x(scope, tmp_path):
    """From an installed package, or beside the configs."""
    theirs = 'pspnet_r50-d8_4xb4-20k_voc12aug-512x512'
    if scope == 'beside':
        (tmp_path / f'{PAIRS[theirs]}.py').write_text(
            f"_base_ = '{shipped_configs()[PAIRS[theirs]]}'"
        )
    folder = './' if scope == 'beside' else f'{scope}pspnet/'
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = '{folder}{theirs}.py'\nmodel = dict(decode_head=dict(num_classes=3))\n"
    )
    wanted = load_config(PAIRS[theirs], {'model.decode_head.num_classes': 3})
    assert load_config(path).to_dict() == wanted.to_dict()


@pytest.mark.parametrize(
    'name',
    [
        'pspnet_r50-d8_4xb2-240k_cityscapes-512x1024',  # another schedule
        'pspnet_r50-d8_cityscapes',  # less than the name says
        'configs/fcn/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',  # of another folder
        'mine/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    ],
)
def test_another_name_is_none(name):
    with pytest.raises(FileNotFoundError, match='pspnet'):
        find_config(name)


def test_a_scope_that_is_no_package_is_named(tmp_path):
    options = {'work_dir': str(tmp_path), 'default_scope': 'no_such'}
    cfg = load_config('pspnet_r18-d8_shapes', options)
    for refuse in (check_config, Runner.from_cfg):
        with pytest.raises(ConfigError, match="default_scope: there is no package 'no_such'"):
            refuse(cfg)
    made = Registry('mine', scope='no_such', parent=roots.MODELS)  # of code of one's own
    assert check_config(cfg) is None
    del roots.MODELS.children[made.scope]
