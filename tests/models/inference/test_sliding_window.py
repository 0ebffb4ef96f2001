"""Window positions, by hand and by what they must satisfy."""

import pytest
import torch
from helpers.tiny_net import sample_of, tiny_segmentor

from segkit.models.inference.sliding_window import slide_settings, window_boxes, window_counts


def test_the_eight_windows_of_a_cityscapes_image():
    boxes = window_boxes((1025, 2049), (769, 769), (513, 513))
    rows, columns = [(0, 769), (256, 1025)], [(0, 769), (513, 1282), (1026, 1795), (1280, 2049)]
    assert boxes == [(*row, *column) for row in rows for column in columns]


@pytest.mark.parametrize('size', [(480, 480), (481, 480), (800, 801), (100, 2000), (479, 799)])
def test_windows_have_one_size_and_cover_every_pixel(size):
    boxes = window_boxes(size, (480, 480), (320, 320))
    shapes = {(y2 - y1, x2 - x1) for y1, y2, x1, x2 in boxes}
    assert shapes == {(min(480, size[0]), min(480, size[1]))}
    assert len(set(boxes)) == len(boxes)
    counts = window_counts(tuple(boxes), size, torch.device('cpu'))
    assert counts.min() >= 1
    assert counts.sum() == sum(h * w for h, w in shapes) * len(boxes)


def test_windows_have_gradients_after_a_prediction_in_inference_mode():
    model = tiny_segmentor('slide').eval()
    image, meta = torch.randn(1, 3, 52, 61), {'ori_shape': (52, 61)}
    with torch.inference_mode():
        model.predict(image, [sample_of(**meta)])

    model.slide_inference(image.requires_grad_(), [meta]).sum().backward()

    assert image.grad.abs().sum() > 0


def test_settings_accept_one_number_and_refuse_gaps():
    assert slide_settings({'crop_size': 64, 'stride': (48, 32)}) == ((64, 64), (48, 32))
    for stride in (65, (65, 32), (32, 65)):
        with pytest.raises(ValueError, match='make the stride at most the crop'):
            slide_settings({'crop_size': 64, 'stride': stride})
    with pytest.raises(ValueError, match='needs crop_size'):
        slide_settings({'stride': 65})
