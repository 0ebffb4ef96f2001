"""Class-by-class reduction equals argmax of full logits on every pixel."""

import pytest
import torch
import torch.nn.functional as F

from segkit.models.inference.logits import (
    Geometry,
    ImageLogits,
    Logits,
    argmax_classes,
    running_maximum,
)
from segkit.models.inference.sliding_window import window_boxes


def whole(small, size, ori_shape, align_corners=False):
    return ImageLogits(Logits(small[None], size, align_corners), Geometry(ori_shape))


def interpolate(x, size, align_corners):
    return F.interpolate(x, size, mode='bilinear', align_corners=align_corners)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('ori_shape', [(96, 128), (130, 171)])
@pytest.mark.parametrize('classes', [2, 19, 300])
def test_no_pixel_differs_from_the_full_resize(classes, ori_shape, align_corners):
    small = torch.randn(classes, 12, 16)
    size = (96, 128)
    logits = whole(small, size, ori_shape, align_corners)
    full = interpolate(interpolate(small[None], size, align_corners), ori_shape, align_corners)
    got = logits.classes(0.3, budget=1)
    assert got.dtype == (torch.uint8 if classes <= 255 else torch.int64)
    assert torch.equal(got.long(), full.argmax(1))
    assert torch.equal(logits.scores(), full[0])


@pytest.mark.parametrize(('classes', 'dtype'), [(255, torch.uint8), (256, torch.int64)])
def test_no_class_of_a_byte_is_the_ignore_index(classes, dtype):
    small = torch.zeros(classes, 1, 1)
    small[-1] = 1
    running = whole(small, (1, 1), (1, 1)).classes(0.3, budget=1)
    for got in (running, argmax_classes(small, 0.3)):
        assert (got.dtype, got.item()) == (dtype, classes - 1)


@pytest.mark.parametrize('chunk', [1, 2, 5, 7, 100])
def test_chunks_do_not_matter_even_where_classes_tie(chunk):
    small = torch.randint(-2, 3, (7, 9, 11)).float()
    logits = whole(small, (9, 11), (9, 11))
    before = small.clone()
    assert torch.equal(running_maximum(logits.channels, 7, chunk).long(), small.argmax(0))
    assert torch.equal(small, before)


@pytest.mark.parametrize('align_corners', [False, True])
def test_windows_accumulate_as_padded_full_maps_do(align_corners):
    size, boxes = (70, 90), window_boxes((70, 90), (40, 40), (30, 25))
    small = torch.randn(len(boxes), 5, 5, 5)
    total, counts = torch.zeros(1, 5, *size), torch.zeros(1, 1, *size)
    for (y1, y2, x1, x2), window in zip(boxes, small):
        up = interpolate(window[None], (y2 - y1, x2 - x1), align_corners)
        total += F.pad(up, (x1, size[1] - x2, y1, size[0] - y2))
        counts[..., y1:y2, x1:x2] += 1
    want = interpolate(total / counts, (64, 100), align_corners)
    windows = Logits(small, (40, 40), align_corners).placed(boxes, size)
    assert torch.equal(windows.written_out(), total / counts)
    logits = ImageLogits(windows, Geometry((64, 100)))
    assert torch.equal(logits.fill(torch.empty_like(want[0]), 2), want[0])
    assert torch.equal(logits.classes(0.3, 1).long(), want.argmax(1))


def test_row_strips_of_full_scores_give_argmax():
    scores = torch.randn(150, 40, 900)
    assert torch.equal(argmax_classes(scores, 0.3).long(), scores.argmax(0, keepdim=True))


def test_the_budget_bounds_the_classes_held_at_once_on_a_gpu():
    def chunk(classes, size, budget, device='meta'):  # any device that is no CPU
        return whole(torch.empty(classes, 1, 1, device=device), (1, 1), size).chunk(budget)

    assert chunk(150, (2000, 3000), 1 << 30) == 14
    assert chunk(19, (512, 512), 1 << 30) == 19
    assert chunk(150, (10**5, 10**4), 1) == 1
    assert chunk(150, (10, 10), 1 << 30, 'cpu') == 1


@pytest.mark.parametrize('flip_last', [False, True])
def test_the_flip_is_undone_on_its_side_of_the_resize(flip_last):
    x, ori = torch.randn(1, 3, 31, 44), (50, 97)
    padding = (2, 5, 1, 0)
    cut = x[..., 1:, 2:-5]
    first = interpolate(cut.flip(-1), ori, False)
    last = interpolate(cut, ori, False).flip(-1)
    assert not torch.equal(first, last)  # the same up to rounding only
    way_back = Geometry(ori, padding, 'horizontal', flip_last)
    got = ImageLogits(Logits(x, (31, 44), False), way_back).channels(0, 3)
    assert torch.equal(got[None], last if flip_last else first)
