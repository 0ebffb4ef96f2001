"""The HTML page of a check."""

import numpy as np
from helpers.checks import SIZES, config, paint

from segkit.inspection.check import check
from segkit.inspection.page import as_page


def test_the_page_shows_pictures_findings_and_escapes_names(root):
    paint(root, 1, np.full(SIZES[1], 77, np.uint8))
    cfg = config(root, metainfo=dict(classes=('<b>', 'c1', 'c2', 'c3', 'c4')))

    page = as_page(check(cfg, 'x', ('train',), workers=0))

    assert page.count('<img src="data:image/jpeg;base64,') == 3
    assert '&lt;b&gt;' in page
    assert '<b>error</b>: label value(s) 77' in page
    assert 'Training would fail.' in page
    assert 'http://' not in page
    assert 'https://' not in page
