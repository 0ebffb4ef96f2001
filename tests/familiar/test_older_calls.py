"""Calls of mmsegmentation 0.x give what the calls of today give."""

import numpy as np
import pytest
import torch
from helpers.older_uses import SMALL, X, labelled
from helpers.tiny_net import ONE_CHANNEL, sample_of, tiny_segmentor

from segkit.models import DAHead, FCNHead
from segkit.structures import PixelData

IMAGES = torch.randn(2, 3, 64, 72)
META = dict(ori_shape=(30, 44, 3), img_shape=(60, 68, 3), pad_shape=(64, 72, 3), flip=False)
LABELS = torch.randint(0, 4, (2, 1, 64, 72))


def today(model, **more):
    samples = [sample_of(**{**sized(META), **more}) for _ in IMAGES]
    return [s.pred_sem_seg.data[0].numpy() for s in model.predict(IMAGES, samples)]


def sized(meta):
    cut = {k: v[:2] for k, v in meta.items() if k.endswith('_shape')}
    return dict(meta, **cut, img_padding_size=(0, 4, 0, 4))


@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize('head', [{}, ONE_CHANNEL], ids=['classes', 'binary'])
def test_testing_gives_the_classes_of_today(mode, head):
    model = tiny_segmentor(mode, **head).eval()
    found = model(return_loss=False, rescale=True, img=[IMAGES], img_metas=[[META] * 2])
    assert [f.dtype for f in found] == [np.int64] * 2
    for got, want in zip(found, today(model), strict=True):
        assert got.shape == (30, 44)
        assert (got == want).all()
        assert len(np.unique(got)) > 1
    small = model(IMAGES, [META] * 2, return_loss=False, rescale=False)
    assert small[0].shape == (60, 68)


def test_views_are_averaged_and_mirrored_back():
    model = tiny_segmentor().eval()
    meta = dict(META, img_shape=(64, 72, 3))
    mirrored = dict(meta, flip=True, flip_direction='horizontal')
    views = [IMAGES, IMAGES.flip(3)]
    twice = model(views, [[meta] * 2, [mirrored] * 2], return_loss=False)
    once = model(IMAGES, [meta] * 2, return_loss=False)
    other = model(IMAGES.flip(3), [mirrored] * 2, return_loss=False)
    for both, one, two in zip(twice, once, other, strict=True):
        same = one == two
        assert same.any()
        assert (both[same] == one[same]).all()


def test_training_gives_the_losses_of_today():
    model = tiny_segmentor().train()
    samples = [sample_of() for _ in LABELS]
    for sample, label in zip(samples, LABELS):
        sample.gt_sem_seg = PixelData(data=label)
    torch.manual_seed(0)
    want = model(IMAGES, samples, mode='loss')
    torch.manual_seed(0)
    got = model(IMAGES, [META] * 2, gt_semantic_seg=LABELS, return_loss=True)
    assert {k: float(v) for k, v in got.items()} == {k: float(v) for k, v in want.items()}
    data = dict(img=IMAGES, img_metas=[META] * 2, gt_semantic_seg=LABELS)
    for step in (model.train_step, model.val_step):
        found = step(data, None)
        assert found['num_samples'] == 2
        assert found['log_vars']['loss'] == pytest.approx(float(found['loss'].detach()))
        assert set(found['log_vars']) == {'loss', *got}


def test_heads_are_trained_and_tested_by_function():
    head = FCNHead(dropout_ratio=0, **SMALL)
    labels = torch.stack([s.gt_sem_seg.data for s in labelled()])
    got = head.forward_train([X], [{}] * 2, labels, None)
    assert float(got['loss_ce']) == float(head.loss([X], labelled(), None)['loss_ce'])
    assert torch.equal(head.forward_test([X], None, None), head([X]))
    attention = DAHead(pam_channels=4, dropout_ratio=0, **SMALL)
    assert torch.equal(attention.forward_test([X], None, None), attention([X])[0])


def test_an_argument_that_neither_knows_is_refused():
    with pytest.raises(TypeError, match='rescaled'):
        tiny_segmentor()(IMAGES, rescaled=True)
