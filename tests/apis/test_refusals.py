"""What the three calls take, and what they refuse by a sentence at the call."""

import io
import re

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from segkit.apis import inference_model, init_model, show_result
from segkit.structures import SegDataSample

SMALL = {'model.test_cfg.mode': 'whole'}
SHAPE = (48, 64)
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
GREY = COLOUR[..., 0].copy()


@pytest.fixture(scope='module')
def model():
    return init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)


def classes(result) -> np.ndarray:
    return result.pred_sem_seg.data[0].numpy()


TAKEN = {
    'PIL RGB': (Image.fromarray(COLOUR[..., ::-1].copy()), COLOUR),
    'PIL grey': (Image.fromarray(GREY), GREY),
    'PIL RGBA': (Image.fromarray(cv2.cvtColor(COLOUR, cv2.COLOR_BGR2RGBA)), COLOUR),
    'PIL palette': (
        Image.fromarray(COLOUR).convert('P'),
        np.asarray(Image.fromarray(COLOUR).convert('P').convert('RGB'))[..., ::-1],
    ),
    'PIL bits': (Image.fromarray(GREY > 99), (GREY > 99).astype(np.uint8) * 255),
    '(H, W, 1)': (GREY[..., None], GREY),
    '(H, W)': (GREY, np.repeat(GREY[..., None], 3, 2)),
    'a view': (COLOUR[:, ::-1][:, ::-1], COLOUR),
}


@pytest.mark.parametrize('name', TAKEN)
def test_pictures_of_every_kind_are_what_they_show(model, name):
    given, same = TAKEN[name]
    want = classes(inference_model(model, np.ascontiguousarray(same)))
    assert np.array_equal(classes(inference_model(model, given)), want)
    (listed,) = inference_model(model, [given])
    assert np.array_equal(classes(listed), want)


def test_a_pillow_image_stands_as_its_file_is_read(model, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / 'turned.png', exif=exif)
    opened = Image.open(tmp_path / 'turned.png')
    result = classes(inference_model(model, opened))
    assert result.shape == SHAPE[::-1]
    assert np.array_equal(result, classes(inference_model(model, tmp_path / 'turned.png')))


REFUSED = {
    'a tensor': (torch.zeros(3, 8, 8), 'permute(1, 2, 0)'),
    'None': (None, 'NoneType is no source'),
    'a number': (0, 'int is no source'),
    'bytes': (b'png', 'bytes is no source'),
    'a dict': ({}, 'dict is no source'),
    'alpha': (np.zeros((8, 8, 4), np.uint8), 'Leave out the alpha channel'),
    'channels first': (np.zeros((3, 8, 8), np.uint8), 'channels first; (H, W, C)'),
    'two channels': (np.zeros((8, 8, 2), np.uint8), 'has 2 channels'),
    'no rows': (np.zeros((0, 8, 3), np.uint8), 'is empty'),
    'a vector': (np.zeros(8, np.uint8), '(H, W)'),
    'floats': (np.zeros((8, 8, 3)), 'uint8 in BGR order'),
    'PIL 16 bits': (Image.fromarray(np.zeros((8, 8), np.uint16)), '8-bit'),
    'PIL floats': (Image.fromarray(np.zeros((8, 8), np.float32)), 'mode F'),
}  # fmt: skip


@pytest.mark.parametrize('wrap', [lambda x: x, lambda x: [x], lambda x: [COLOUR, x]])
@pytest.mark.parametrize('name', REFUSED)
def test_what_is_no_picture_is_refused_at_the_call(model, name, wrap):
    given, said = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(said)):
        inference_model(model, wrap(given))


def test_items_of_a_generator_are_read_one_by_one(model):
    results = inference_model(model, (item for item in [COLOUR, np.zeros((8, 8, 4), np.uint8)]))
    assert classes(next(results)).shape == SHAPE
    with pytest.raises(ValueError, match='alpha'):
        next(results)


@pytest.mark.parametrize('kind', ['half', 'double', 'bfloat16'])
def test_weights_of_another_type_are_answered_with_what_to_do(kind):
    network = getattr(init_model('pspnet_r18-d8_shapes', cfg_options=SMALL), kind)()
    for given in (COLOUR, [COLOUR], iter([COLOUR])):
        with pytest.raises(ValueError, match=r'model\.float\(\).*bf16=True'):
            inference_model(network, given)
    assert classes(inference_model(network.float(), COLOUR)).shape == SHAPE


@pytest.mark.parametrize('switches', [{}, dict(fuse_bn=True, channels_last=True, bf16=True)])
def test_a_whole_model_is_saved_and_loaded(switches):
    network = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL, **switches)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=False)
    want = classes(inference_model(network, COLOUR))
    assert np.array_equal(classes(inference_model(again, COLOUR)), want)
    assert (again.cfg.model.type, again.channels_last) == ('EncoderDecoder', bool(switches))


def test_logits_on_request(model):
    result = inference_model(model, COLOUR).cpu()  # a copy does not know the network
    assert not hasattr(result, 'seg_logits')
    assert 'seg_logits' not in result
    with pytest.raises(AttributeError, match=r'keep_logits=True.*model\.test_cfg\.keep_logits'):
        _ = result.seg_logits
    with pytest.raises(AttributeError, match='keep_logits=True'):
        _ = SegDataSample().seg_logits
    options = {**SMALL, 'model.test_cfg.keep_logits': True}
    kept = inference_model(init_model('pspnet_r18-d8_shapes', cfg_options=options), COLOUR)
    logits = kept.seg_logits.data
    assert logits.shape == (13, *SHAPE)
    assert np.array_equal(logits.argmax(0).numpy(), classes(kept))


@pytest.mark.parametrize('names', [12, 14])
def test_a_checkpoint_that_names_other_classes_than_it_has_is_named(model, tmp_path, names):
    meta = dict(CLASSES=[f'c{i}' for i in range(names)], PALETTE=[[i, 0, 0] for i in range(names)])
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'w.pth')
    with pytest.warns(UserWarning, match=rf'w\.pth: names {names} classes, .* 13'):
        network = init_model('pspnet_r18-d8_shapes', tmp_path / 'w.pth', cfg_options=SMALL)
    assert len(network.dataset_meta['classes']) >= 13
    assert len(network.dataset_meta['palette']) >= 13


LABELS = (np.arange(48 * 64).reshape(SHAPE) % 3).astype(np.uint8)
PALETTE = np.array([[9, 8, 7], [1, 2, 3], [200, 100, 0]])


@pytest.mark.parametrize('picture', [COLOUR, GREY, GREY[..., None], Image.fromarray(GREY)])
@pytest.mark.parametrize('kind', [np.uint8, np.int64, np.int32])
def test_an_array_is_shown_over_a_picture_of_any_kind(picture, kind):
    drawn = show_result(picture, LABELS.astype(kind), palette=PALETTE, opacity=1.0)
    assert np.array_equal(drawn[..., ::-1], PALETTE.astype(np.uint8)[LABELS])
    bare = show_result(picture, LABELS.astype(kind), palette=PALETTE.tolist(), opacity=0)
    grey = np.repeat(GREY[..., None], 3, 2)
    assert np.array_equal(bare, COLOUR if picture is COLOUR else grey)


@pytest.mark.parametrize(
    ('changed', 'said'),
    [
        (dict(opacity=1.5), 'opacity=1.5 must be in'),
        (dict(opacity=-0.1), 'opacity=-0.1 must be in'),
        (dict(opacity=float('nan')), 'opacity=nan must be in'),
        (dict(palette=[[0, 0, 0]]), 'palette: 1 colours, but the prediction has class 2'),
        (dict(palette=[0, 1, 2]), 'K colours of three'),
        (dict(palette=[[0.5, 0, 0]] * 3), 'K colours of three'),
        (dict(palette=[[0, 0, 256]] * 3), r'must be in \[0, 255\]'),
        (dict(result='x.png'), 'str is no prediction'),
        (dict(result=LABELS[0]), 'class indices are wanted'),
        (dict(result=LABELS / 2), 'class indices are wanted'),
        (dict(img=None), 'NoneType is no picture'),
        (dict(img=COLOUR / 255), 'uint8 in BGR order'),
        (dict(out_file='x.nothing'), 'named with .png'),
    ],
)
def test_what_cannot_be_shown_is_named(changed, said):
    with pytest.raises(ValueError, match=said):
        show_result(**{**dict(img=COLOUR, result=LABELS, palette=PALETTE), **changed})


def test_the_picture_itself_is_not_written_over(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), COLOUR)
    (tmp_path / 'b.png').symlink_to(path)
    for out in (path, tmp_path / 'b.png'):
        with pytest.raises(ValueError, match=r'is read .* would be written over'):
            show_result(path, LABELS, palette=PALETTE, out_file=out)
    assert np.array_equal(cv2.imread(str(path)), COLOUR)
    for _ in range(2):
        show_result(path, LABELS, palette=PALETTE, out_file=tmp_path / 'c.png')
