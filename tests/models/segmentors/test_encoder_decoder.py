"""EncoderDecoder: losses, whole and sliding tests, and the way back to the original image."""

import pickle

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_net import ONE_CHANNEL, sample_of, tiny_segmentor


def plain_classes(model, image, ori_shape, padding=(0, 0, 0, 0), flip=None):
    """The path written out: full logits, unpad, unflip, resize, argmax."""
    logits = model.inference(image, [{}])
    left, right, top, bottom = padding
    height, width = logits.shape[2:]
    logits = logits[:, :, top : height - bottom, left : width - right]
    if flip:
        logits = logits.flip({'horizontal': 3, 'vertical': 2, 'diagonal': (2, 3)}[flip])
    logits = F.interpolate(logits, ori_shape, mode='bilinear', align_corners=model.align_corners)
    return logits.argmax(1)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('mode', ['whole', 'slide'])
@pytest.mark.parametrize(
    ('padding', 'flip'),
    [
        ((0, 0, 0, 0), None),
        ((1, 3, 2, 4), 'horizontal'),
        ((0, 5, 0, 0), 'vertical'),
        ((0, 0, 3, 1), 'diagonal'),
    ],
)
def test_prediction_equals_the_written_out_path(mode, align_corners, padding, flip):
    model = tiny_segmentor(mode=mode, align_corners=align_corners).eval()
    image = torch.randn(1, 3, 45, 61)
    sample = sample_of(ori_shape=(57, 83), img_padding_size=padding)
    if flip:
        sample.set_metainfo({'flip': True, 'flip_direction': flip})
    with torch.no_grad():
        want = plain_classes(model, image, (57, 83), padding, flip)
        got = model.predict(image, [sample])[0].pred_sem_seg.data
    assert got.dtype == torch.uint8
    assert torch.equal(got.long(), want)
    assert len(want.unique()) > 2


@pytest.mark.parametrize('key', ['img_padding_size', 'padding_size'])
def test_padding_is_cut_off_under_either_of_its_names(key):
    model = tiny_segmentor().eval()
    image, padding = torch.randn(1, 3, 45, 61), (1, 3, 2, 4)
    with torch.no_grad():
        want = plain_classes(model, image, (57, 83), padding)
        sample = sample_of(ori_shape=(57, 83), **{key: padding})
        got = model.predict(image, [sample])[0].pred_sem_seg.data
    assert torch.equal(got.long(), want)


def test_postprocess_result_equals_prediction_of_the_same_logits():
    model = tiny_segmentor().eval()
    image = torch.randn(2, 3, 40, 40)
    samples = [sample_of(ori_shape=(33, 50)), sample_of(ori_shape=(64, 20))]
    with torch.no_grad():
        logits = model.inference(image, [s.metainfo for s in samples])
        want = [s.pred_sem_seg.data for s in model.predict(image, samples)]
        got = [s.pred_sem_seg.data for s in model.postprocess_result(logits, samples)]
    assert [w.shape for w in want] == [(1, 33, 50), (1, 64, 20)]
    assert all(torch.equal(a, b) for a, b in zip(want, got))


def test_a_batch_of_different_sizes_equals_one_image_at_a_time():
    model = tiny_segmentor().eval()
    images = [torch.randint(0, 256, (3, h, w), dtype=torch.uint8) for h, w in ((40, 56), (33, 48))]
    batch = {'inputs': images, 'data_samples': [sample_of(ori_shape=x.shape[1:]) for x in images]}
    with torch.no_grad():
        together = model.test_step(batch)
        for image, sample in zip(images, together):
            alone = model.test_step({'inputs': [image], 'data_samples': [sample_of()]})[0]
            assert torch.equal(alone.pred_sem_seg.data, sample.pred_sem_seg.data)


def test_logits_are_computed_when_asked_for_and_kept_only_on_request():
    model = tiny_segmentor().eval()
    image = torch.randn(1, 3, 32, 32)
    sample = model.predict(image, [sample_of(ori_shape=(40, 44))])[0]
    assert 'seg_logits' not in sample
    for copied in (sample.cpu(), pickle.loads(pickle.dumps(sample))):
        with pytest.raises(AttributeError, match='keep_logits=True'):
            copied.seg_logits  # noqa: B018
    asked = sample.seg_logits.data
    assert sample.seg_logits.data is asked
    model.test_cfg['keep_logits'] = True
    kept = model.predict(image, [sample_of(ori_shape=(40, 44))])[0]
    assert kept.seg_logits.data.shape == (4, 40, 44)
    assert torch.equal(asked, kept.seg_logits.data)
    assert torch.equal(kept.seg_logits.data.argmax(0)[None], kept.pred_sem_seg.data.long())
    assert torch.equal(sample.pred_sem_seg.data, kept.pred_sem_seg.data)


def test_one_channel_is_cut_at_the_heads_threshold():
    model = tiny_segmentor(**ONE_CHANNEL, threshold=0.4).eval()
    logits = torch.linspace(-2, 2, 64).view(1, 1, 8, 8)
    got = model.postprocess_result(logits)[0].pred_sem_seg.data
    assert torch.equal(got.long(), (logits[0].sigmoid() > 0.4).long())


def test_kept_scores_of_one_channel_are_probabilities_of_the_same_classes():
    model = tiny_segmentor(**ONE_CHANNEL, threshold=0.4).eval()
    image, samples = torch.randn(1, 3, 40, 48), [sample_of(ori_shape=(37, 50))]
    with torch.no_grad():
        lean = model.predict(image, samples)[0].pred_sem_seg.data
        model.test_cfg['keep_logits'] = True
        kept = model.predict(image, samples)[0]
        logits = F.interpolate(model.encode_decode(image, [{}]), (37, 50), mode='bilinear')
    torch.testing.assert_close(kept.seg_logits.data, 1 / (1 + torch.exp(-logits[0])))
    assert torch.equal(kept.pred_sem_seg.data, lean)
    assert len(lean.unique()) == 2


@pytest.mark.parametrize('batch_windows', [2, 3, 100])
def test_windows_in_batches_give_the_same_classes(batch_windows):
    model = tiny_segmentor(mode='slide').eval()
    image = torch.randn(2, 3, 50, 70)
    one = [s.pred_sem_seg.data for s in model.predict(image)]
    model.test_cfg['batch_windows'] = batch_windows
    many = [s.pred_sem_seg.data for s in model.predict(image)]
    assert all(torch.equal(a, b) for a, b in zip(one, many))


def test_loss_names_the_auxiliary_head_and_reaches_every_parameter():
    model = tiny_segmentor(aux=1)
    image, samples = torch.randn(2, 3, 32, 32), [sample_of(labels=(32, 32)) for _ in range(2)]
    losses = model.loss(image, samples)
    assert set(losses) == {'decode.loss_ce', 'decode.acc_seg', 'aux.loss_ce', 'aux.acc_seg'}
    total, _ = model.parse_losses(losses)
    assert torch.equal(total, losses['decode.loss_ce'] + losses['aux.loss_ce'])
    total.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('count', [1, 2])
def test_auxiliary_heads_of_a_list_are_numbered(count):
    model = tiny_segmentor(aux=count, in_list=True)
    losses = model.loss(torch.randn(2, 3, 32, 32), [sample_of(labels=(32, 32))] * 2)
    numbered = {f'aux_{i}.loss_ce' for i in range(count)}
    assert {name for name in losses if name.endswith('loss_ce')} == {'decode.loss_ce', *numbered}


def test_trains_and_tests_under_bf16_autocast_on_cpu():
    model = tiny_segmentor(aux=1)
    image, samples = torch.randn(2, 3, 32, 32), [sample_of(labels=(32, 32)) for _ in range(2)]
    with torch.autocast('cpu', torch.bfloat16):
        total, _ = model.parse_losses(model.loss(image, samples))
        classes = model.eval().predict(image)[0].pred_sem_seg.data
    total.backward()
    assert torch.isfinite(total)
    assert classes.shape == (1, 32, 32)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_tensor_mode_is_the_heads_answer_and_encode_decode_resizes_it():
    model = tiny_segmentor().eval()
    image = torch.randn(1, 3, 40, 48)
    small = model(image)
    full = model.encode_decode(image, [{}])
    assert small.shape == (1, 4, 5, 6)
    want = F.interpolate(small, (40, 48), mode='bilinear', align_corners=False)
    assert torch.equal(full, want)


class WithoutWeights(torch.nn.Module):
    """A backbone of one's own."""

    def forward(self, x):
        return (x,)


def test_a_backbone_that_takes_no_weights_is_named():
    with pytest.raises(ValueError, match='model.pretrained: the backbone .*WithoutWeights'):
        tiny_segmentor(pretrained='a.pth', backbone={'type': WithoutWeights})


def test_pretrained_reaches_the_backbone_and_may_be_named_once():
    assert tiny_segmentor(pretrained='a.pth').backbone.pretrained == 'a.pth'
    with pytest.raises(ValueError, match='name the weights once'):
        tiny_segmentor(pretrained='a.pth', backbone={'pretrained': 'b.pth'})


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        ({'mode': 'slide', 'crop_size': (32, 32)}, r'needs stride=\(height, width\)'),
        ({'mode': 'slide', 'crop_size': (32, 32), 'stride': (40, 32)}, 'no window covers'),
        ({'mode': 'hole'}, "choose 'whole' or 'slide'"),
    ],
)
def test_a_wrong_test_cfg_is_explained(test_cfg, message):
    model = tiny_segmentor().eval()
    model.test_cfg = test_cfg
    with pytest.raises(ValueError, match=message):
        model.predict(torch.randn(1, 3, 40, 40))
