"""What label values mean, guessed."""

import pytest

from segkit.inspection.labels import Pair, guess


def pair(values=(), colours=()) -> Pair:
    return Pair((4, 4), (4, 4), 3, 'uint8', dict.fromkeys(values, 5), dict.fromkeys(colours, 5))


@pytest.mark.parametrize(
    ('values', 'count', 'settings', 'words'),
    [
        ((0, 1, 2), 3, {}, 'values 0 to 2, no pixel is ignored'),
        ((0, 1, 2, 255), 3, {}, '255 is ignored'),
        ((1, 2, 3), 3, {'reduce_zero_label': True}, 'they count from 1'),
        ((1, 2, 3, 255), 3, {'reduce_zero_label': True}, 'they count from 1'),
        ((0, 255), 2, {'label_map': {255: 1}}, 'masks of 0 and 255'),
        ((0, 128), 2, {'label_map': {0: 0, 128: 1}}, 'numbered in their order'),
        ((7, 11, 26, 255), 3, {'label_map': {7: 0, 11: 1, 26: 2}}, 'numbered in their order'),
        ((0, 1000, 24001), 3, {'label_map': {0: 0, 1000: 1, 24001: 2}}, 'numbered'),
        ((0, 1, 2, 4, 5), 6, {}, 'of which 3 never occur'),
        ((0,), 1, {}, 'values 0 to 0'),
    ],
)
def test_index_labels(values, count, settings, words):
    found = guess([pair(values[:1]), pair(values)])

    assert (found.num_classes, found.settings) == (count, settings)
    assert words in found.reason


def test_colour_labels_become_a_palette():
    found = guess([pair(colours=[(255, 0, 0), (0, 0, 0)]), pair(colours=[(0, 0, 0), (0, 9, 0)])])

    assert found.palette == [[0, 0, 0], [0, 9, 0], [255, 0, 0]]
    assert found.settings == {'label_format': 'rgb'}


def test_photographs_are_no_labels():
    colours = [(r, g, 0) for r in range(16) for g in range(16)]
    with pytest.raises(ValueError, match='256 colours or more: photographs'):
        guess([pair(colours=colours)])


def test_labels_without_any_class():
    with pytest.raises(ValueError, match=r'every label pixel is 255 \(ignored\)'):
        guess([pair([255])])
