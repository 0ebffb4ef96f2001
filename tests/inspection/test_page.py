"""The HTML page of a check."""

import numpy as np
import pytest
from helpers.checks import SIZES, config, paint
from jinja2 import UndefinedError

from segkit.inspection.check import check
from segkit.inspection.check_report import as_page
from segkit.visualization.web_page import fill


def test_the_page_shows_pictures_findings_and_escapes_names(root):
    paint(root, 1, np.full(SIZES[1], 77, np.uint8))
    cfg = config(root, metainfo=dict(classes=('<b>', 'c1', 'c2', 'c3', 'c4')))

    page = as_page(check(cfg, 'x', ('train',), workers=0))

    assert page.count('<img src="data:image/jpeg;base64,') >= 3
    assert page.count('<img') == page.count('<figcaption>')
    assert '&lt;b&gt;' in page
    assert '<b>error</b>: label value(s) 77' in page
    assert 'Training would fail.' in page
    assert 'http://' not in page
    assert 'https://' not in page


def test_findings_show_their_pictures_and_a_cure_as_it_is_typed(root):
    for index, size in enumerate(SIZES):
        label = np.zeros(size, np.uint8)
        label[::8, ::8] = 1
        paint(root, index, label)
    cfg = config(root, num_classes=2, names=3)

    page = as_page(check(cfg, '</title><script>', ('train',), workers=0))

    assert '<script>' not in page
    assert '<code>--cfg-options model.decode_head.num_classes=3</code>' in page
    assert 'objects too small' in page
    assert page.count('<figure>') == 4  # three samples, one beside the finding
    assert page.index('objects too small') < page.index('<figure>')


def test_a_template_that_asks_for_what_nobody_gives_is_an_error(tmp_path):
    template = tmp_path / 'own.html'
    template.write_text('{% extends "base.html" %}{% block main %}{{ nothing.here }}{% endblock %}')
    with pytest.raises(UndefinedError):
        fill(template, title='t')
    assert '<h1>&lt;b&gt;&#34;</h1>' in fill(template, title='<b>"', nothing=dict(here=1))
