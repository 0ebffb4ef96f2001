"""Images with rare classes come more often, as often as the formula says."""

import math

import numpy as np
import pytest
from helpers.make_data import PREFIX, write_pair

from segkit.registry import DATASETS


def balanced(tmp_path, threshold, **options):
    for i in range(8):  # class 2 in one image of eight, class 1 in four, 255 does not count
        label = np.full((6, 6), 0, np.uint8)
        label[0] = 1 if i < 4 else 255
        label[1] = 2 if i == 0 else 0
        write_pair(tmp_path, f'{i}', np.full((6, 6, 3), i, np.uint8), label)
    inner = dict(
        type='BaseSegDataset', data_root=str(tmp_path), data_prefix=PREFIX, img_suffix='.png',
        metainfo=dict(classes=('a', 'b', 'c')), pipeline=[dict(type='LoadImageFromFile')],
        **options,
    )  # fmt: skip
    return DATASETS.build(
        dict(type='ClassBalancedDataset', oversample_thr=threshold, dataset=inner)
    )


def test_images_with_rare_classes_are_repeated(tmp_path):
    dataset = balanced(tmp_path, 0.7)
    shares = {'a': 1.0, 'b': 0.5, 'c': 0.125}
    factor = {c: math.ceil(max(1.0, math.sqrt(0.7 / share))) for c, share in shares.items()}
    wanted = [factor['c']] + [factor['b']] * 3 + [factor['a']] * 4
    shown = [int(dataset[i]['img'][0, 0, 0]) for i in range(len(dataset))]
    assert [shown.count(i) for i in range(8)] == wanted == [3, 2, 2, 2, 1, 1, 1, 1]


def test_classes_are_those_after_the_mapping(tmp_path):
    dataset = balanced(tmp_path, 0.7, reduce_zero_label=True)
    assert dataset.dataset.get_cat_ids(0) == [0, 1]
    assert dataset.dataset.get_cat_ids(7) == []


@pytest.mark.parametrize('threshold', [0, -1, 1.5, float('nan')])
def test_a_threshold_that_is_no_share_is_refused(tmp_path, threshold):
    with pytest.raises(ValueError, match=r'oversample_thr=.* a share of the images'):
        balanced(tmp_path, threshold)


@pytest.mark.parametrize(
    ('settings', 'said'),
    [
        (dict(imdecode_backend='tifffile'), 'pip install tifffile'),
        (dict(imdecode_backend='cv3'), "imdecode_backend='cv3' is none of cv2, pillow"),
        (dict(backend_args=dict(backend='tifffile')), 'there is no such backend; it is one of'),
    ],
)
def test_readers_that_are_not_there_are_named(settings, said):
    from segkit.datasets.transforms.loading import LoadImageFromFile

    with pytest.raises(ValueError, match=said):
        LoadImageFromFile(**settings)
