"""Charts: that the files are pictures with something on them, and what a page gets."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from segkit.visualization import charts


def test_curves_of_two_runs(tmp_path):
    runs = {'a': ([1, 2, 3], [3.0, 2.0, 1.0]), 'b': ([1, 2], [2.0, 2.0])}
    charts.save(charts.curves({'loss': runs, 'mIoU': runs, 'lr': runs}, 'x'), tmp_path / 'x/c.png')
    picture = np.array(Image.open(tmp_path / 'x/c.png').convert('RGB'))
    assert min(picture.shape[:2]) > 400
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


def test_a_run_keeps_its_colour_in_every_panel(tmp_path):
    line = [1, 2], [3.0, 2.0]
    charts.save(charts.curves({'loss': {'a': line}, 'mIoU': {'b': line}}), tmp_path / 'c.svg')
    text = (tmp_path / 'c.svg').read_text()
    assert 'stroke: #2f6fed' in text
    assert 'stroke: #e4572e' in text


def test_confusion_of_few_and_of_many_classes(tmp_path):
    for k in (1, 3, 40):
        names = [f'class {i}' for i in range(k)]
        charts.save(charts.confusion(100 * np.eye(k), names), tmp_path / f'{k}.svg')
    assert 'class 2' in (tmp_path / '3.svg').read_text()


def test_nothing_touches_the_edge_of_a_chart(tmp_path):
    """An axis' name that the layout cut in half would."""
    charts.save(charts.confusion(100 * np.eye(13), ['boulder'] * 13), tmp_path / 'c.png')
    picture = np.array(Image.open(tmp_path / 'c.png').convert('L'))
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert min(edge.min() for edge in edges) == 255


def test_a_name_without_a_known_format_is_refused(tmp_path):
    chart = charts.curves({'loss': {'a': ([1], [1.0])}})
    with pytest.raises(charts.ChartFormatError, match=r'c.xyz: name a chart with one of .png'):
        charts.save(chart, tmp_path / 'c.xyz')


def texts_of(svg: str) -> dict[str, tuple[float, float]]:
    """Each text of a chart and where it stands."""
    found = re.findall(r'<text [^>]*x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]+)<', svg)
    return {text: (float(x), float(y)) for x, y, text in found}


def test_a_chart_in_a_page_follows_its_theme_is_read_out_and_is_the_same_each_time():
    lines = {'<loss>': ([10, 20], [3.0, float('nan')]), '$a$': ([10], [1.0])}
    made = [charts.svg(charts.curves({'loss': lines}), 'a "chart"') for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].startswith('<svg viewBox="0 0 ')
    assert 'role="img" aria-label="a &quot;chart&quot;"' in made[0]
    assert '<title>&lt;loss&gt;: 3 at 10</title>' in made[0]
    assert 'stroke: var(--c1)' in made[0]
    assert not re.search(r'#[0-9a-f]{6}|<style|<metadata|https?:(?!//www.w3.org)', made[0])
    assert {'iteration', 'loss', '&lt;loss&gt;', '$a$'} <= set(texts_of(made[0]))


def test_names_of_dots_stay_off_the_axis_and_each_other():
    names, colours = ['tent', 'lamp', 'boat'], [(0, 0, 0)] * 3
    xs, ys = np.array([2.0, 2.1, 2.2]), np.zeros(3)
    svg = charts.svg(charts.scatter(names, xs, ys, colours, ('x', 'y')), 'dots')
    places = texts_of(svg)
    heights = [places[name][1] for name in names]
    assert len(set(heights)) == 3
    assert max(heights) < places['10'][1] - 11
    assert '<title>lamp: IoU 0.0 %, 2.1 % of pixels</title>' in svg


def test_classes_without_pixels_have_no_dot():
    xs, ys = np.array([0.0, 5.0]), np.array([np.nan, 50.0])
    svg = charts.svg(charts.scatter(['a', 'b'], xs, ys, [(0, 0, 0)] * 2, ('x', 'y')), 'dots')
    assert svg.count('<title>') == 1
    empty = charts.scatter(['a'], xs[:1], ys[:1], [(0, 0, 0)], ('x', 'y'))
    assert charts.svg(empty, 'dots').count('<title>') == 0


def test_a_histogram_tells_how_many():
    svg = charts.svg(charts.histogram([1, 2, 97, 120], 'IoU'), 'IoU')
    assert '<title>0 to 5 %: 2 images</title>' in svg
    assert '<title>95 to 100 %: 2 images</title>' in svg
    assert len(re.findall('<title>', svg)) == 20


def test_a_spike_does_not_flatten_the_rest():
    values = [2.0] * 300
    values[3] = 1e6
    figure = charts.curves({'loss': {'a': (list(range(300)), values)}})
    assert figure.axes[0].get_ylim()[1] < 10


def test_matplotlib_is_imported_when_a_chart_is_drawn():
    code = 'import sys, segkit.visualization.charts; assert "matplotlib" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
