"""BaseSegDataset: the pairs it finds, what it says when something is wrong, its labels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.make_data import PREFIX, write_dataset, write_pair
from torch.utils.data import DataLoader

from segkit.datasets import BaseSegDataset, DataError, SeededIndex
from segkit.registry import DATASETS

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
PACK = [*LOAD, dict(type='PackSegInputs')]
CLASSES = dict(classes=tuple('abcde'))


def build(root, pipeline=LOAD, **kwargs):
    kwargs = {
        'data_prefix': PREFIX,
        'img_suffix': '.png',
        'metainfo': CLASSES,
        'data_root': str(root),
        'pipeline': pipeline,
        'serialize_data': False,
        **kwargs,
    }
    return DATASETS.build(dict(type='BaseSegDataset', **kwargs))


@pytest.fixture
def root(tmp_path):
    return write_dataset(tmp_path, [(20, 30)] * 4)


def relative(dataset):
    return [dataset.get_data_info(i)['img_path'].split('/img/')[1] for i in range(len(dataset))]


def test_pairs_are_found_in_nested_folders_sorted(root):
    write_pair(root, 'city/x', *np.zeros((2, 20, 30), np.uint8))
    dataset = build(root)
    assert relative(dataset) == ['000.png', '001.png', '002.png', '003.png', 'city/x.png']
    info = dataset.get_data_info(4)
    assert info['seg_map_path'] == f'{root}/ann/city/x.png'


def test_a_split_file_keeps_its_order_and_its_first_column(root, tmp_path):
    (tmp_path / 'train.txt').write_text('003  1\n\n000 -1\n')
    assert relative(build(root, ann_file='train.txt')) == ['003.png', '000.png']


def test_indices_take_a_subset(root):
    assert relative(build(root, indices=2)) == ['000.png', '001.png']
    assert relative(build(root, indices=[3, 1], serialize_data=False)) == ['003.png', '001.png']


@pytest.mark.parametrize(
    ('kwargs', 'error', 'words'),
    [
        (dict(data_prefix=dict(img_path='nowhere')), FileNotFoundError, ['nowhere', 'data_root']),
        (
            dict(data_prefix=dict(img_path='img', seg_map_path='no_labels')),
            FileNotFoundError,
            ['no_labels', 'data_prefix.seg_map_path'],
        ),
        (dict(ann_file='missing.txt'), FileNotFoundError, ['missing.txt', 'ann_file']),
        (dict(img_suffix='.jpg'), ValueError, ['/img', "'.jpg'", 'empty', 'img_suffix']),
        (dict(seg_map_suffix='.tif'), FileNotFoundError, ['4 of 4', '000.tif', 'seg_map_suffix']),
        (dict(on_error='ignore'), ValueError, ['on_error', "'ignore'", "'skip'"]),
        (dict(label_format='colour'), ValueError, ['label_format', "'rgb'"]),
        (
            dict(metainfo=dict(classes=('a', 'b'), palette=[[0, 0, 0]])),
            ValueError,
            ['metainfo.palette', '1 colours for 2 classes'],
        ),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_when_it_is_made(root, kwargs, error, words):
    with pytest.raises(error) as caught:
        build(root, **kwargs)
    for word in words:
        assert word in str(caught.value)


def test_an_image_named_in_the_split_that_is_missing_is_named(root, tmp_path):
    (tmp_path / 'train.txt').write_text('000\nghost\n')
    with pytest.raises(FileNotFoundError, match=r'1 of 2 samples have no image: .*img/ghost\.png'):
        build(root, ann_file='train.txt')


def test_an_empty_split_file_is_named(root, tmp_path):
    (tmp_path / 'train.txt').write_text('\n')
    with pytest.raises(ValueError, match=r'train\.txt: no sample found'):
        build(root, ann_file='train.txt')


def test_images_without_labels_need_no_label_folder(root):
    dataset = build(root, LOAD[:1], data_prefix=dict(img_path='img'), test_mode=True)
    assert 'seg_map_path' not in dataset[0]


def test_a_file_that_vanishes_later_is_named(root, tmp_path):
    dataset = build(root)
    (tmp_path / 'ann/001.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'ann/001\.png: the label does not exist'):
        dataset[1]


@pytest.mark.parametrize(('folder', 'what'), [('img', 'image'), ('ann', 'label')])
def test_a_truncated_file_is_named(root, tmp_path, folder, what):
    path = tmp_path / folder / '002.png'
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=rf'{folder}/002\.png: the {what} cannot be read.*skip'):
        build(root)[2]


def test_a_size_mismatch_names_both_files_and_sizes(root, tmp_path):
    cv2.imwrite(str(tmp_path / 'ann/000.png'), np.zeros((20, 31), np.uint8))
    pattern = r'ann/000\.png: the label is 20x31 .*img/000\.png is 20x30'
    with pytest.raises(DataError, match=pattern):
        build(root)[0]
    crop = [*LOAD, dict(type='RandomCrop', crop_size=(8, 8))]
    with pytest.raises(DataError, match=pattern):
        build(root, crop)[0]


def test_a_colour_label_is_refused_with_the_way_out(root, tmp_path):
    cv2.imwrite(str(tmp_path / 'ann/000.png'), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match=r"ann/000\.png: .*colour image.*label_format='rgb'"):
        build(root)[0]


def test_skip_takes_another_sample_and_counts(root, tmp_path):
    (tmp_path / 'img/001.png').write_bytes(b'no image')
    dataset = build(root, PACK, on_error='skip')
    assert dataset[1]['inputs'].shape == (3, 20, 30)
    # By chance the damaged one may be drawn again: then it counts again.
    assert dataset.num_skipped >= 1
    before = dataset.num_skipped
    loader = DataLoader(dataset, batch_size=1, num_workers=2, collate_fn=list)
    assert sum(len(batch) for batch in loader) == 4
    assert dataset.num_skipped > before, 'the count of the workers did not reach the trainer'


def test_skip_does_not_apply_to_evaluation(root, tmp_path):
    (tmp_path / 'img/001.png').write_bytes(b'no image')
    with pytest.raises(DataError):
        build(root, PACK, on_error='skip', test_mode=True)[1]


def test_skipping_everything_ends_with_an_error(root, tmp_path):
    for path in (tmp_path / 'img').iterdir():
        path.write_bytes(b'no image')
    with pytest.raises(RuntimeError, match=r'No usable sample in 6 tries \(max_refetch\)'):
        build(root, PACK, on_error='skip', max_refetch=5)[0]


def test_a_seeded_index_makes_the_sample_independent_of_history(root):
    pipeline = [*LOAD, dict(type='RandomCrop', crop_size=(8, 8)), dict(type='PackSegInputs')]
    dataset = build(root, pipeline)
    first = dataset[SeededIndex(1, 7)]['inputs']
    np.random.rand(5)
    assert torch.equal(dataset[SeededIndex(1, 7)]['inputs'], first)
    assert not torch.equal(dataset[SeededIndex(1, 8)]['inputs'], first)


def label_of(root, stored, **kwargs):
    cv2.imwrite(f'{root}/ann/000.png', np.resize(np.array(stored, np.uint8), (20, 30)))
    return build(root, **kwargs)[0]['gt_seg_map'].ravel()[: len(stored)].tolist()


def test_zero_is_reduced_before_the_label_map(root):
    stored = [0, 1, 2, 3, 254, 255]
    assert label_of(root, stored) == stored
    assert label_of(root, stored, reduce_zero_label=True) == [255, 0, 1, 2, 253, 255]
    mapped = label_of(root, stored, reduce_zero_label=True, label_map={0: 4, 2: 1})
    assert mapped == [255, 4, 1, 1, 253, 255]
    assert label_of(root, stored, label_map={0: 1, 1: 0}) == [1, 0, 2, 3, 254, 255]


def test_a_contradiction_about_reduce_zero_label_is_an_error(root):
    pipeline = [LOAD[0], dict(type='LoadAnnotations', reduce_zero_label=True)]
    with pytest.raises(ValueError, match='set it in the dataset alone'):
        build(root, pipeline)[0]


class Letters(BaseSegDataset):
    METAINFO = dict(classes=tuple('abcd'), palette=[[i, 0, 0] for i in range(4)])


def test_a_subset_of_classes_maps_the_others_to_ignore(root):
    cv2.imwrite(f'{root}/ann/000.png', np.resize(np.array([0, 1, 2, 3, 255], np.uint8), (20, 30)))
    dataset = Letters(
        metainfo=dict(classes=['c', 'a']),
        data_root=root,
        data_prefix=PREFIX,
        img_suffix='.png',
        pipeline=LOAD,
    )
    assert dataset[0]['gt_seg_map'].ravel()[:5].tolist() == [1, 255, 0, 255, 255]
    assert dataset.metainfo['classes'] == ('c', 'a')
    assert dataset.metainfo['palette'] == [[2, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match=r"'bb' is not a class of Letters. Did you mean 'b'"):
        Letters(metainfo=dict(classes=['bb']), lazy_init=True)


def test_repetition_and_concatenation_keep_the_seed_of_an_index(root):
    crop = [*LOAD, dict(type='RandomCrop', crop_size=(8, 8)), dict(type='PackSegInputs')]
    config = dict(type='BaseSegDataset', data_root=root, data_prefix=PREFIX, img_suffix='.png')
    config.update(metainfo=CLASSES, pipeline=crop)
    one = DATASETS.build(config)
    three = DATASETS.build(dict(type='RepeatDataset', dataset=config, times=3))
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=[config, config]))
    assert (len(three), len(joined)) == (12, 8)
    wanted = one[SeededIndex(2, 9)]['inputs']
    for whole, index in ((three, 10), (joined, 6)):
        assert torch.equal(whole[SeededIndex(index, 9)]['inputs'], wanted)
    with pytest.raises(ValueError, match='at least one dataset'):
        DATASETS.build(dict(type='ConcatDataset', datasets=[]))


def test_every_sample_has_a_list_of_label_names_of_its_own(root):
    """Which transforms written for mmsegmentation append to."""
    dataset = build(root)

    dataset.get_data_info(0)['seg_fields'].append('gt_seg_map')

    assert dataset.get_data_info(0)['seg_fields'] == []
    assert dataset[0]['seg_fields'] == ['gt_seg_map']


class FiveClasses(BaseSegDataset):
    METAINFO = CLASSES


class OneArgument(FiveClasses):
    @classmethod
    def get_label_map(cls, new_classes=None):
        return {0: len(new_classes)}


def test_label_map_of_a_subset_is_known_without_a_dataset(root):
    assert FiveClasses.get_label_map(['c', 'a']) == {0: 1, 1: 255, 2: 0, 3: 255, 4: 255}
    assert FiveClasses.get_label_map(list('abcde')) is None
    assert BaseSegDataset.get_label_map(['c', 'a']) is None
    arguments = dict(data_root=str(root), data_prefix=PREFIX, img_suffix='.png')
    subset = dict(classes=['c', 'a'])
    assert OneArgument(metainfo=subset, **arguments).label_map == {0: 2}
    assert FiveClasses(metainfo=subset, ignore_index=9, **arguments).label_map[1] == 9


def test_classes_given_as_a_text_are_one_class_aloud_or_refused(root, warned):
    assert build(root, metainfo=dict(classes=('water'))).metainfo['classes'] == ('water',)
    assert "metainfo.classes is the text 'water'" in warned.text
    assert "Write classes=('water',), with the comma" in warned.text
    for text in ('water,land', 'names.txt', 'a/b', ''):
        with pytest.raises(ValueError, match='metainfo.classes is the text.*give a list of names'):
            build(root, metainfo=dict(classes=text))
    names = Path(root) / 'names.txt'
    names.write_text('water\nland\n')
    with_file = build(root, metainfo=dict(classes=str(names)))
    assert with_file.metainfo['classes'] == ('water', 'land')


def test_label_map_in_metainfo_is_that_of_the_dataset(root):
    both = [
        build(root, metainfo=CLASSES, label_map={1: 0}),
        build(root, metainfo=dict(**CLASSES, label_map={1: 0})),
    ]
    assert both[0].label_map == both[1].label_map == {1: 0}
    with pytest.raises(ValueError, match='reduce_zero_label is True in metainfo and False'):
        build(root, metainfo=dict(**CLASSES, reduce_zero_label=True))


def test_concatenation_names_what_differs(root):
    def part(classes, **kwargs):
        return build(root, metainfo=dict(classes=classes, **kwargs))

    def join(*parts):
        return DATASETS.build(dict(type='ConcatDataset', datasets=list(parts)))

    colours = [[i, i, i] for i in range(3)]
    assert join(part(['abc'] * 1), part(['abc'])).metainfo['classes'] == ('abc',)
    both = join(part(list('abc'), palette=colours), part(list('abc'), palette=colours[::-1]))
    assert both.metainfo['palette'] == colours
    with pytest.raises(ValueError, match=r"metainfo.classes is \('a', 'b'\).*\('a', 'x'\) in .*1"):
        join(part(list('ab')), part(list('ax')))
    with pytest.raises(ValueError, match=r"metainfo.note is 1 in .*None in .*ignore_keys=\['note'"):
        join(part(list('ab'), note=1), part(list('ab')))
    with pytest.raises(ValueError, match=r'ignore_index is 255 in.* and 9 in.*label_map={9: 255'):
        join(part(list('ab')), build(root, metainfo=dict(classes=list('ab')), ignore_index=9))
    with pytest.raises(ValueError, match=r'another order.*label_map={0: 1, 1: 0, 2: 2}'):
        join(part(list('abc')), part(list('bac')))
    cured = build(root, metainfo=dict(classes=list('abc')), label_map={0: 1, 1: 0, 2: 2})
    assert len(join(part(list('abc')), cured)) == 2 * len(cured)


def test_what_has_gone_is_said_and_ignored(root, warned):
    assert len(build(root, crop_first=True, index_cache='x.json')) == len(build(root))
    for name in ('crop_first', 'index_cache'):
        assert f'{name} of a dataset has no effect any more' in warned.text


def test_labels_that_are_not_there_are_asked_for_in_words(root):
    data = build(root, data_prefix=dict(img_path='img'))
    with pytest.raises(ValueError, match=r'000\.png: LoadAnnotations reads.*seg_map_path'):
        data[0]


def test_what_tells_the_files_is_read_or_refused(root, warned):
    for given, words in (
        (dict(data_prefix=dict(img_path='img', seg_map='ann')), "nothing reads 'seg_map'; its"),
        (dict(data_prefix=dict(img='img')), "nothing reads 'img'; its keys are img_path and seg_"),
        (dict(img_suffix=('.jpg', '.png')), r"img_suffix=\('.jpg', '.png'\): one ending"),
        (dict(seg_map_suffix=['.png']), r"seg_map_suffix=\['.png'\]: one ending.*ConcatDataset"),
    ):
        with pytest.raises(ValueError, match=words):
            build(root, **given)
    build(root, filter_cfg=dict(min_size=100))
    assert "filter_cfg={'min_size': 100} of a dataset: nothing reads it" in warned.text


def test_pictures_named_again_are_said(root, tmp_path, warned):
    (tmp_path / 'split.txt').write_text('000\n001\n000\n')
    assert len(build(root, ann_file='split.txt')) == 3
    assert 'split.txt: 1 pictures are named more than once, and count as often: 000.' in warned.text


def test_walking_through_a_repeated_data_set_ends(root):
    config = dict(type='BaseSegDataset', data_root=root, data_prefix=PREFIX, img_suffix='.png')
    repeated = DATASETS.build(dict(type='RepeatDataset', dataset=dict(config), times=3))
    names = [sample['img_path'][-7:] for sample in repeated]
    assert names == [f'{i:03d}.png' for i in range(4)] * 3
    for times in (0, -1, 1.5):
        with pytest.raises(ValueError, match='a whole number of 1 or more'):
            DATASETS.build(dict(type='RepeatDataset', dataset=dict(config), times=times))
