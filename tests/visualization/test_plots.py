"""Chart files: that they are pictures with something on them."""

import numpy as np
import pytest
from PIL import Image

from segkit.visualization.plots import ChartFormatError, plot_confusion, plot_curves


def test_curves_of_two_runs(tmp_path):
    runs = {'a': ([1, 2, 3], [3.0, 2.0, 1.0]), 'b': ([1, 2], [2.0, 2.0])}
    plot_curves({'loss': runs, 'mIoU': runs, 'lr': runs}, tmp_path / 'x/c.png', 'title')
    picture = np.array(Image.open(tmp_path / 'x/c.png').convert('RGB'))
    assert min(picture.shape[:2]) > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_run_keeps_its_colour_in_every_panel(tmp_path):
    line = [1, 2], [3.0, 2.0]
    plot_curves({'loss': {'a': line}, 'mIoU': {'b': line}}, tmp_path / 'c.svg')
    text = (tmp_path / 'c.svg').read_text()
    assert 'stroke: #1f77b4' in text
    assert 'stroke: #ff7f0e' in text


def test_confusion_of_few_and_of_many_classes(tmp_path):
    for k in (3, 40):
        names = [f'class {i}' for i in range(k)]
        plot_confusion(100 * np.eye(k), names, tmp_path / f'{k}.svg')
    assert 'class 2' in (tmp_path / '3.svg').read_text()


def test_nothing_touches_the_edge_of_a_chart(tmp_path):
    """An axis' name that the layout cut in half would."""
    plot_confusion(100 * np.eye(13), ['boulder'] * 13, tmp_path / 'c.png')
    picture = np.array(Image.open(tmp_path / 'c.png').convert('L'))
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert min(edge.min() for edge in edges) == 255


def test_a_name_without_a_known_format_is_refused(tmp_path):
    with pytest.raises(ChartFormatError, match=r'c.xyz: name a chart with one of .png'):
        plot_curves({'loss': {'a': ([1], [1.0])}}, tmp_path / 'c.xyz')
