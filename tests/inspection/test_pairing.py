"""Names of pictures and labels pair up, whatever follows their stems."""

import pytest

from segkit.inspection.pairing import best_pairing, others_as_good, pair, unlabelled
from segkit.inspection.words import ROLES, Meaning, base_of, meaning_of_name, meaning_of_path

CASES = {
    'same names': ('img/{}.png', ['ann/{}.png'], '.png', '.png'),
    'other types': ('JPEGImages/{}.jpg', ['SegmentationClass/{}.png'], '.jpg', '.png'),
    'endings': ('images/{}.jpg', ['masks/{}_mask.png'], '.jpg', '_mask.png'),
    'cityscapes': (
        'leftImg8bit/{}_leftImg8bit.png',
        [f'gtFine/{{}}_gtFine_{kind}.png'
         for kind in ('color', 'instanceIds', 'labelIds', 'labelTrainIds')],
        '_leftImg8bit.png', '_gtFine_labelTrainIds.png',
    ),
    'labels that sort first': ('zimages/{}.jpeg', ['a_labels/{}.tif'], '.jpeg', '.tif'),
    'capitals': ('images/{}.JPG', ['labels/{}.PNG'], '.JPG', '.PNG'),
    'one folder': ('all/{}.jpg', ['all/{}_seg.png'], '.jpg', '_seg.png'),
    'one folder, one stem': ('all/{}.jpg', ['all/{}.png'], '.jpg', '.png'),
    'no words': ('b/{}.jpg', ['a/{}.png'], '.jpg', '.png'),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('count', [1, 2, 25, 130])
def test_pairs_are_found(case, count):
    image, labels, img_suffix, seg_map_suffix = CASES[case]
    found: dict[str, list[str]] = {}
    for pattern in [image, *labels]:
        folder, _, name = pattern.partition('/')
        found.setdefault(folder, []).extend(name.format(f'frame_{i}') for i in range(count))
    found = {folder: sorted(names) for folder, names in found.items()}

    best = best_pairing(found)

    assert len(best) == count
    (variant,) = best.variants
    assert (variant.img_suffix, variant.seg_map_suffix) == (img_suffix, seg_map_suffix)
    assert (best.images, best.labels) == (image.split('/')[0], labels[0].split('/')[0])


def test_endings_may_be_mixed_and_what_is_left_out_is_counted():
    images = ['a.jpg', 'b.JPG', 'c.png', 'd.jpg', 'x_view.jpg']
    found = pair('i', 'l', images, ['a.png', 'b.png', 'c.PNG', 'z.png'])
    assert found.stems == ['a', 'b', 'c']
    assert found.left_out == {
        'pictures without a label': ('d.jpg', 'x_view.jpg'),
        'labels without a picture': ('z.png',),
    }
    assert found.endings == ('*.JPG, *.jpg, *.png', '*.PNG, *.png')
    assert found.only(['b']).stems == ['b']
    assert len(unlabelled('i', images)) == 5


def test_numbered_pictures_are_no_labels_of_one_another():
    names = [f'{stem}{n}.png' for stem in 'ab' for n in ('', '_1', '_2')]
    assert best_pairing({'photos': sorted(names)}) is None


def test_class_labels_are_preferred_and_rivals_named():
    found = {name: ['1.png', '2.png'] for name in ('img', 'masks_color', 'masks', 'gt')}
    best = best_pairing(found)
    assert best.images == 'img'
    assert others_as_good(found, best) == sorted({'masks', 'gt'} - {best.labels})
    found = {name: ['1.png'] for name in ('JPEGImages', 'SegmentationObject', 'SegmentationClass')}
    assert best_pairing(found).labels == 'SegmentationClass'
    found = {'img': ['1.png', '2.png'], 'masks': ['1.png'], 'masks_color': ['1.png', '2.png']}
    assert best_pairing(found).labels == 'masks'


NAMES = {
    'trainannot': ('train', 'labels'), 'train_labels': ('train', 'labels'), 'Train': ('train', ''),
    'valid': ('val', ''), 'validation': ('val', ''), 'testing': ('test', ''),
    'TrainImages': ('train', 'images'), 'y_test': ('test', 'labels'), 'x_val': ('val', 'images'),
    'leftImg8bit': ('', 'images'), 'gtFine': ('', 'labels'), 'JPEGImages': ('', 'images'),
    'SegmentationObject': ('', 'other'), 'masks_color': ('', 'other'), 'train2017': ('train', ''),
    'latest': ('', ''), 'aachen': ('', ''), 'constraint': ('', ''), 'train_test': ('', ''),
}  # fmt: skip


def test_names_say_what_a_person_reads_in_them():
    assert {name: meaning_of_name(name) for name in NAMES} == {
        name: Meaning(*told) for name, told in NAMES.items()
    }
    for role, words in ROLES.items():
        for word in words:
            assert meaning_of_name(word).role == role
            assert meaning_of_path(f'data/{word.upper()}/masks') == Meaning(role, 'labels')
    assert base_of('a/train/images/aachen/x') == 'a/train/images'
    assert base_of('aachen') == ''
