"""Folds: every picture validates once, groups stay together, and both loaders agree."""

import numpy as np
import pytest
from helpers.make_data import PREFIX, write_pair
from mmengine.config import Config

from segkit.datasets.folds import in_fold
from segkit.engine.config_check import check_part
from segkit.inspection.config_datasets import leaves_of
from segkit.registry import DATASETS

STEMS = [f'{video}_{frame:03d}' for video, count in zip('abcdef', (9, 4, 4, 3, 1, 1))
         for frame in range(count)]  # fmt: skip


def held_out(number, of=3, stems=STEMS, **more):
    val = in_fold(stems, number, of, part='val', **more)
    train = in_fold(stems, number, of, **more)
    assert sorted(val + train) == sorted(stems)
    assert train == [stem for stem in stems if stem not in val]
    return val


@pytest.mark.parametrize('group_by', [None, '^(.*)_'])
def test_every_picture_is_in_one_fold(group_by):
    folds = [held_out(number, group_by=group_by) for number in range(3)]
    assert sorted(sum(folds, [])) == sorted(STEMS)
    sizes = [len(fold) for fold in folds]
    assert max(sizes) - min(sizes) <= (3 if group_by else 1)  # 22 pictures, 9 of them of one video
    again = held_out(1, stems=STEMS[::-1], group_by=group_by)
    assert again[::-1] == folds[1]
    assert held_out(1, group_by=group_by, seed=5) != folds[1]


def test_a_group_is_in_one_fold():
    for number in range(3):
        videos = {stem[0] for stem in held_out(number, group_by='^(.*)_')}
        assert not videos & {s[0] for s in in_fold(STEMS, number, 3, group_by='^(.*)_')}


@pytest.fixture
def loaders(tmp_path):
    for i in range(7):
        write_pair(tmp_path, f'v{i // 2}_{i}', np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)))
    base = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=PREFIX, img_suffix='.png',
        metainfo=dict(classes=('a', 'b')), pipeline=[dict(type='LoadImageFromFile')],
    )  # fmt: skip
    fold = dict(number=1, of=2, group_by='^(.*)_')
    train, val = dict(base, fold=fold), dict(base, fold=dict(fold, part='val'))
    return dict(train_dataloader=dict(dataset=train), val_dataloader=dict(dataset=val))


def test_the_loaders_of_a_run_share_no_picture_and_the_check_sees_the_same(loaders):
    seen = []
    for split in ('train', 'val'):
        dataset = DATASETS.build(loaders[f'{split}_dataloader']['dataset'])
        paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
        (leaf,) = leaves_of(Config(loaders), split)
        assert [info['img_path'] for info in leaf.infos] == paths
        assert not leaf.orphans
        assert not leaf.left_out
        seen.append(set(paths))
    assert len(seen[0] | seen[1]) == 7
    assert not seen[0] & seen[1]
    assert {len(part) for part in seen} == {3, 4}


def test_generated_pictures_have_folds_too():
    parts = [
        DATASETS.build(
            dict(type='ShapesDataset', num_images=6, fold=dict(number=0, of=3, part=part))
        )
        for part in ('train', 'val')
    ]
    assert [len(part) for part in parts] == [4, 2]


@pytest.mark.parametrize(
    ('fold', 'words'),
    [
        (dict(number=3, of=3), 'counted from 0'),
        (dict(number=0, of=1), 'two folds or more'),
        (dict(number=0, of=8), '7 pictures in 7 groups cannot be 8 folds'),
        (dict(number=0, of=2, part='test'), "not 'test'"),
        (dict(number=0, of=2, group_by='('), 'fold: group_by .: no regular expression'),
    ],
)
def test_folds_that_cannot_be_are_refused(loaders, fold, words):
    with pytest.raises(ValueError, match=words):
        DATASETS.build(dict(loaders['train_dataloader']['dataset'], fold=fold))


def test_a_misspelt_key_of_a_fold_is_named(loaders):
    loaders['train_dataloader']['dataset']['fold']['numbr'] = 1
    with pytest.raises(ValueError, match=r"fold.numbr: .*Did you mean 'number'"):
        check_part(loaders, 'train_dataloader')
    with pytest.raises(ValueError, match="fold: there is no 'numbr'"):
        DATASETS.build(loaders['train_dataloader']['dataset'])
