"""Multi-scale and flip prediction against the protocol written out with full maps."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_net import ONE_CHANNEL, sample_of, tiny_segmentor

from segkit.models.inference.logits import Geometry, ImageLogits, Logits
from segkit.models.inference.views import ViewStack, ViewSum, merge_views
from segkit.structures import ImageViews


def view(small):
    """A view of 48 x 64 pixels whose logits (K, h, w) are ``small``."""
    return ImageLogits(Logits(small[None], (48, 64), False), Geometry(ORI))


SIZES = ((24, 32), (48, 64), (57, 75))
ORI = (50, 66)


def written_out(model, views, ori_shape, flip):
    """Every view: full logits, resize, softmax, mirror back; the mean, then argmax."""
    scores = []
    for view in views:
        x = (view.float() - 120) / 60
        for mirrored in (False, True) if flip else (False,):
            image = x.flip(-1) if mirrored else x
            logits = model.inference(image[None], [{}])
            logits = F.interpolate(
                logits, ori_shape, mode='bilinear', align_corners=model.align_corners
            )
            probability = logits.softmax(1)
            scores.append(probability.flip(-1) if mirrored else probability)
    return torch.stack(scores).mean(0)


def views_of(sizes=SIZES):
    torch.manual_seed(3)
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]


@pytest.mark.parametrize('budget', [1024, 0], ids=['streaming', 'by class'])
@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize(
    ('align_corners', 'flip'), [(False, 'horizontal'), (True, 'horizontal'), (True, None)]
)
def test_no_pixel_differs_from_the_written_out_protocol(mode, align_corners, flip, budget):
    model = tiny_segmentor(mode=mode, align_corners=align_corners).eval()
    model.test_cfg.update(memory_budget=budget, keep_logits=True)
    views = views_of()
    data = {'inputs': [ImageViews(views, flip)], 'data_samples': [sample_of(ori_shape=ORI)]}
    with torch.no_grad():
        want = written_out(model, views, ORI, flip)
        kept = model.test_step(data)[0]
        model.test_cfg['keep_logits'] = False
        lean = model.test_step(data)[0]
    torch.testing.assert_close(kept.seg_logits.data, want[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(lean.pred_sem_seg.data.long(), want.argmax(1))
    assert torch.equal(kept.pred_sem_seg.data, lean.pred_sem_seg.data)
    assert len(want.argmax(1).unique()) > 2


@pytest.mark.parametrize(
    ('flip', 'axes'), [('horizontal', -1), ('vertical', -2), ('diagonal', (-2, -1))]
)
def test_a_view_is_mirrored_before_it_is_padded(flip, axes):
    model = tiny_segmentor().eval()
    model.test_cfg['keep_logits'] = True
    model.data_preprocessor.test_cfg = {'size_divisor': 16}
    image = views_of(((21, 35),))[0]
    data = {'inputs': [ImageViews([image], flip)], 'data_samples': [sample_of(ori_shape=ORI)]}
    scores = []
    with torch.no_grad():
        for mirrored in (False, True):
            x = (image.flip(axes) if mirrored else image).float()[None]
            padded = F.pad((x - 120) / 60, (0, 48 - 35, 0, 32 - 21))
            logits = model.inference(padded, [{}])[..., :21, :35]
            score = F.interpolate(logits, ORI, mode='bilinear').softmax(1)[0]
            scores.append(score.flip(axes) if mirrored else score)
        predicted = model.test_step(data)[0]
    torch.testing.assert_close(predicted.seg_logits.data, sum(scores) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(('budget', 'way'), [(2 * 4 * 4 * 50 * 66, ViewSum), (1, ViewStack)])
def test_the_budget_in_bytes_chooses_the_way(budget, way):
    logits = view(torch.randn(4, 6, 8))
    assert type(merge_views([logits, logits], budget)) is way


@pytest.mark.parametrize('budget', [1 << 30, 0], ids=['streaming', 'by class'])
def test_logits_too_large_for_a_byte_are_averaged_alike(budget):
    torch.manual_seed(0)
    views = [300 * torch.randn(4, 6, 8) for _ in range(2)]
    wide = [
        F.interpolate(F.interpolate(small[None], (48, 64), mode='bilinear'), ORI, mode='bilinear')
        for small in views
    ]
    merged = merge_views(map(view, views), budget)
    want = torch.stack([x[0].double().softmax(0) for x in wide]).mean(0)
    torch.testing.assert_close(merged.scores().double(), want, rtol=1e-4, atol=1e-6)


def test_views_without_the_size_where_they_meet_are_refused():
    with pytest.raises(ValueError, match='need ori_shape'):
        tiny_segmentor().eval().test_step({'inputs': [views_of()], 'data_samples': [sample_of()]})


def test_a_batch_of_images_equals_one_at_a_time():
    model = tiny_segmentor().eval()
    images = [ImageViews(views_of(), 'horizontal'), ImageViews(views_of(SIZES[::-1]), 'horizontal')]
    shapes = [ORI, (30, 41)]
    batch = {'inputs': images, 'data_samples': [sample_of(ori_shape=s) for s in shapes]}
    together = [s.pred_sem_seg.data for s in model.test_step(batch)]
    for image, shape, got in zip(images, shapes, together):
        data = {'inputs': [image], 'data_samples': [sample_of(ori_shape=shape)]}
        assert torch.equal(model.test_step(data)[0].pred_sem_seg.data, got)


def test_views_survive_the_way_between_processes():
    views = ImageViews(views_of(), 'vertical')
    copy = pickle.loads(pickle.dumps(views))
    assert copy.flip == 'vertical'
    assert all(torch.equal(a, b) for a, b in zip(views.tensors, copy.tensors, strict=True))


@pytest.mark.parametrize('budget', [1024, 0])
def test_a_binary_head_averages_its_sigmoid(budget):
    model = tiny_segmentor(**ONE_CHANNEL, threshold=0.45).eval()
    model.test_cfg['memory_budget'] = budget
    views = views_of()
    got = model.test_step(
        {'inputs': [ImageViews(views)], 'data_samples': [sample_of(ori_shape=ORI)]}
    )[0].pred_sem_seg.data
    scores = []
    for view in views:
        logits = model.inference((view.float() - 120)[None] / 60, [{}])
        scores.append(F.interpolate(logits, ORI, mode='bilinear').sigmoid())
    assert torch.equal(got.long(), (torch.stack(scores).mean(0)[0] > 0.45).long())
