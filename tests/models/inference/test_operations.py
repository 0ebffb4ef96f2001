"""How many operations logits to classes issue on a device, where each is a launch."""

import pytest
import torch
from helpers.operations import Operations

from segkit.models.inference.certainty import confidence, probabilities
from segkit.models.inference.logits import Geometry, ImageLogits, Logits, argmax_classes
from segkit.models.inference.sliding_window import window_boxes
from segkit.models.inference.views import ViewStack, ViewSum, merge_views

BUDGET = 1 << 30  # of test_cfg.memory_budget unless set
CITY, ADE, LARGE = (1024, 2048), (512, 683), (2000, 3000)


def image(classes, size, ori_shape, flip=None):
    small = torch.empty(1, classes, size[0] // 8, size[1] // 8, device='meta')
    return ImageLogits(Logits(small, size, False), Geometry(ori_shape, flip=flip, flip_last=True))


def windows():
    boxes = window_boxes((1025, 2049), (769, 769), (513, 513))
    small = torch.empty(len(boxes), 19, 97, 97, device='meta')
    placed = Logits(small, (769, 769), True).placed(boxes, (1025, 2049))
    return ImageLogits(placed, Geometry(CITY))


ONE_VIEW = {
    'Cityscapes': (image(19, CITY, CITY), 10),
    'ADE20K': (image(150, ADE, ADE), 10),
    'ADE20K, large picture': (image(150, (512, 768), LARGE), 120),
    'eight windows': (windows(), 60),
}


@pytest.mark.parametrize('case', ONE_VIEW)
def test_classes_of_a_picture_are_few_operations(case):
    logits, most = ONE_VIEW[case]
    with Operations() as counted:
        classes = logits.classes(0.3, BUDGET)
    assert classes.shape == (1, *logits.geometry.ori_shape)
    assert counted.issued['upsample_bilinear2d'] >= 1
    assert counted.issued.total() <= most


@pytest.mark.parametrize('asked', [confidence, probabilities])
def test_how_sure_a_network_is_takes_few_operations(asked):
    with Operations() as counted:
        asked(image(19, CITY, CITY), *([0.3] if asked is confidence else []))
    assert counted.issued['upsample_bilinear2d'] >= 1
    assert counted.issued.total() <= 60


def test_full_scores_are_compared_in_few_strips():
    with Operations() as counted:
        argmax_classes(torch.empty(19, *CITY, device='meta'), 0.3)
    assert counted.issued['argmax'] == 2
    assert counted.issued.total() <= 8


VIEWS = {'streaming': (19, CITY, ViewSum, 12), 'by class': (150, LARGE, ViewStack, 220)}


@pytest.mark.parametrize('way', VIEWS)
def test_a_view_more_is_few_operations(way, monkeypatch):
    """A view beyond the first, its addition and its part in the classes."""
    monkeypatch.setattr(torch.Tensor, '__bool__', lambda _: True)  # 'meta' has no values to ask
    classes, size, kind, most = VIEWS[way]

    def of(count):
        views = [image(classes, (512, 768), size, 'horizontal') for _ in range(count)]
        with Operations() as counted:
            merged = merge_views(views, BUDGET)
            merged.classes(0.3, BUDGET)
        assert type(merged) is kind
        return counted.issued.total()

    first, second = of(1), of(2)
    assert 5 <= second - first <= most
