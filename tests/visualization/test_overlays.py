"""Overlays, pixel by pixel."""

import numpy as np
import pytest

from segkit.datasets import BaseSegDataset
from segkit.visualization import (
    attention_overlay,
    colourise,
    contact_sheet,
    error_map,
    legend,
    overlay,
    palette_of,
    side_by_side,
)

PALETTE = [[200, 0, 0], [0, 100, 0]]
IMAGE = np.full((2, 3, 3), 100, np.uint8)
LABEL = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)


def test_colours_follow_the_palette_and_ignored_is_white():
    colours = colourise(LABEL, PALETTE)
    assert colours[0].tolist() == [[200, 0, 0], [0, 100, 0], [255, 255, 255]]


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
def test_overlay_mixes_and_leaves_ignored_pixels_bare(dtype):
    mixed = overlay(IMAGE, LABEL.astype(dtype), PALETTE, opacity=0.25)
    assert mixed[0].tolist() == [[125, 75, 75], [75, 100, 75], [100, 100, 100]]


def test_overlay_follows_the_size_of_the_label():
    assert overlay(np.zeros((8, 8, 3), np.uint8), LABEL, PALETTE).shape == (2, 3, 3)


def test_labels_past_the_palette_stay_bare():
    assert overlay(IMAGE, np.full((2, 3), 300), PALETTE).tolist() == IMAGE.tolist()


def test_error_map_marks_wrong_pixels_only():
    pred = np.zeros_like(LABEL)
    red = (error_map(IMAGE, LABEL, pred) == (230, 57, 70)).all(-1)
    assert red.tolist() == [[False, True, False], [True, True, False]]
    other = np.where(LABEL == 255, 250, LABEL)
    again = (error_map(IMAGE, other, pred, ignore_index=250) == (230, 57, 70)).all(-1)
    assert again.tolist() == red.tolist()


def test_side_by_side_keeps_panels_and_adds_a_gap():
    picture = side_by_side([IMAGE, IMAGE], gap=2)
    assert picture.shape == (2, 8, 3)
    assert (picture[:, 3:5] == 255).all()
    assert (picture[:, 5:] == IMAGE).all()


def test_classes_without_a_palette_have_the_colours_their_dataset_gives_them():
    names = tuple(f'c{i}' for i in range(150))
    dataset = BaseSegDataset(metainfo=dict(classes=names), lazy_init=True)

    assert palette_of({'classes': names}) == palette_of(dataset.metainfo)
    assert len({tuple(colour) for colour in palette_of({'classes': names})}) == 150
    assert palette_of({'classes': ('a', 'b'), 'palette': PALETTE}) == PALETTE


def test_contact_sheet_holds_every_picture():
    images = [np.full((10 * (i + 1), 20, 3), 10 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(images, columns=2, width=20, gap=1)
    assert sheet.shape == (1 + 20 + 1 + 40 + 1 + 50 + 1, 1 + 2 * 21, 3)
    assert sheet[-3, 3].tolist() == [40, 40, 40]


def test_legend_shows_the_colours():
    picture = legend(('a', 'b'), PALETTE, width=320)
    assert picture[12, 12].tolist() == PALETTE[0]


def test_attention_is_hot_where_the_weight_is():
    attention = np.zeros((4, 4))
    attention[3, 3] = 1
    heat = attention_overlay(np.zeros((40, 40, 3), np.uint8), attention, point=(5, 5), opacity=1)
    red, _, blue = heat[39, 39].astype(int)
    assert red > blue
    assert heat[5, 5].tolist() == [255, 255, 255]
