"""Masks of the COCO tools: an example of theirs, and masks drawn by hand."""

import numpy as np
import pytest

from segkit.datasets.coco_masks import decode_counts, decode_mask


@pytest.mark.parametrize('kind', [str, str.encode])
def test_an_example_of_the_coco_tools(kind):
    counts = decode_counts(kind('61X13mN000`0'))

    assert counts == [6, 1, 40, 4, 5, 4, 5, 4, 21]
    mask = decode_mask({'size': [9, 10], 'counts': kind('61X13mN000`0')}, 9, 10)
    assert mask.shape == (9, 10)
    assert mask.sum() == 1 + 4 + 4 + 4
    assert mask[6, 0]  # runs go down the columns: pixel 6 of the first


def test_runs_go_down_the_columns():
    mask = decode_mask({'size': [2, 3], 'counts': [0, 1, 2, 3]}, 2, 3)

    assert mask.astype(int).tolist() == [[1, 0, 1], [0, 1, 1]]


def test_polygons_are_filled():
    mask = decode_mask([[1, 1, 3, 1, 3, 2, 1, 2]], 4, 5)

    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:4] = True
    assert np.array_equal(mask, expected)


def test_runs_that_do_not_fill_the_picture_are_refused():
    with pytest.raises(ValueError, match='cover 5 pixels, not 2 x 3'):
        decode_mask({'size': [2, 3], 'counts': [2, 3]}, 2, 3)
