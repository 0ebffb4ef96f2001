"""Confidence, probabilities, unknown pixels, colours from a file, films and streams."""

import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
import torch

from segkit.apis import inference_model, init_model
from segkit.apis.palette import read_palette
from segkit.apis.predict import predict_to_folder
from segkit.apis.video import predict_film
from segkit.errors import UserError
from segkit.outputs import OutputError

SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
}


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    network = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    torch.nn.init.normal_(network.decode_head.conv_seg.weight, std=0.5)
    return network


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'drive.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 10, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    writer.release()
    return path


def frames_of(path):
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


def test_a_call_says_what_it_wants_and_the_network_stays_as_it_was(model, image):
    before = dict(model.test_cfg)
    result = inference_model(model, image, confidence=True, probabilities=True)
    assert result.probabilities.data.shape == (13, 48, 64)
    assert torch.equal(result.probabilities.data.argmax(0), result.pred_sem_seg.data[0].long())
    assert (result.probabilities.data.amax(0) - result.confidence.data[0]).abs().max() < 1e-6
    middle = float(result.confidence.data.median())
    cut = inference_model(model, image, unknown_below=middle)
    assert torch.equal(cut.pred_sem_seg.data == 255, result.confidence.data < middle)
    assert model.test_cfg == before
    plain = inference_model(model, image)
    with pytest.raises(AttributeError, match='confidence=True'):
        plain.confidence  # noqa: B018
    with pytest.raises(UserError, match=r'unknown_below=2 must be in \(0, 1\]'):
        inference_model(model, image, unknown_below=2)


def test_files_of_how_sure_it_is(model, image, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    sure = inference_model(model, tmp_path / 'a.png', confidence=True, probabilities=True)
    middle = float(sure.confidence.data.median())
    palette = [[10 * i, 0, 255 - 10 * i] for i in range(13)]
    out = tmp_path / 'out'
    predict_to_folder(
        model, str(tmp_path / 'a.png'), out, opacity=1, confidence=True, probabilities=True,
        unknown_below=middle, palette=palette,
    )  # fmt: skip
    grey = cv2.imread(str(out / 'confidence/a.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(grey, np.rint(255 * sure.confidence.data[0].numpy()))
    kept = np.load(out / 'probabilities/a.npy')
    assert kept.dtype == np.float16
    assert np.abs(kept - sure.probabilities.data.numpy()).max() < 1e-3
    mask = cv2.imread(str(out / 'masks/a.png'), cv2.IMREAD_UNCHANGED)
    unsure = (sure.confidence.data[0] < middle).numpy()
    assert np.array_equal(mask == 255, unsure)
    overlay = cv2.imread(str(out / 'overlays/a.png'))
    assert np.array_equal(overlay[unsure], image[unsure])
    assert np.array_equal(overlay[~unsure][:, ::-1], np.array(palette)[mask[~unsure]])
    (record,) = json.loads((out / 'predictions.json').read_text())
    assert abs(record['classes']['unknown'] - unsure.mean()) < 1e-6
    assert abs(sum(record['classes'].values()) - 1) < 1e-4
    assert record['confidence'] == 'confidence/a.png'
    assert record['probabilities'] == 'probabilities/a.npy'


def test_files_of_how_sure_it_is_are_written_over_nobodys(model, image, tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    (tmp_path / 'out/confidence').mkdir(parents=True)
    (tmp_path / 'out/confidence/a.png').write_bytes(b'mine')
    with pytest.raises(OutputError, match=r'confidence/a\.png is there already'):
        predict_to_folder(model, str(tmp_path / 'a.png'), tmp_path / 'out', confidence=True)
    assert [p.name for p in (tmp_path / 'out').rglob('*.png')] == ['a.png']


@pytest.mark.parametrize('dtype', ['bfloat16', torch.float16])
def test_weights_of_half_the_memory_predict_nearly_the_same(model, image, dtype):
    half = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL, dtype=dtype)
    half.load_state_dict(model.state_dict())
    assert {p.dtype for p in half.parameters()} == {half.weights_dtype} != {torch.float32}
    assert half.data_preprocessor.mean.dtype == torch.float32
    one, other = (inference_model(m, image, probabilities=True) for m in (model, half))
    assert other.probabilities.data.dtype == torch.float32
    assert (one.probabilities.data - other.probabilities.data).abs().max() < 0.1
    assert (one.pred_sem_seg.data == other.pred_sem_seg.data).float().mean() > 0.9


def test_a_type_that_is_none_is_named(model):
    with pytest.raises(UserError, match="dtype='int8' must be"):
        init_model('pspnet_r18-d8_shapes', cfg_options=SMALL, dtype='int8')
    with pytest.raises(UserError, match='choose'):
        init_model('pspnet_r18-d8_shapes', cfg_options=SMALL, dtype='float16', bf16=True)


def test_a_film_has_the_frames_and_the_rate_of_its_source(model, video, tmp_path):
    out = tmp_path / 'new/classes.mp4'
    assert predict_film(model, video, out, batch_size=2, opacity=1) == 5
    frames, rate = frames_of(out)
    assert (len(frames), rate) == (5, 10)
    sources, _ = frames_of(video)
    seen = inference_model(model, sources[3]).pred_sem_seg.data[0].numpy()
    wanted = np.array(model.dataset_meta['palette'])[seen][..., ::-1]
    assert np.abs(frames[3].astype(int) - wanted).mean() < 20  # the codec loses some
    assert [p.name for p in out.parent.iterdir()] == ['classes.mp4']
    assert predict_film(model, video, out, frames=2, fps=5) == 2
    assert frames_of(out)[1] == 5


def test_what_no_film_can_be_is_named(model, video, tmp_path):
    with pytest.raises(UserError, match=r'a film ends in \.mp4'):
        predict_film(model, video, tmp_path / 'x.gif')
    with pytest.raises(UserError, match='frames=0'):
        predict_film(model, video, tmp_path / 'x.mp4', frames=0)
    (tmp_path / 'mine.mp4').write_bytes(b'mine')
    with pytest.raises(OutputError, match=r'mine\.mp4 is there already'):
        predict_film(model, video, tmp_path / 'mine.mp4')
    with pytest.raises(OutputError, match='is read'):
        predict_film(model, video, video)
    for source in ('77', 'rtsp://127.0.0.1:9/none'):
        with pytest.raises(UserError, match=rf'{source[:7]}.* cannot be opened'):
            predict_film(model, source, tmp_path / 'x.mp4')
    assert not (tmp_path / 'x.mp4').exists()


def test_a_stream_is_read_by_its_address(model, video, tmp_path):
    shutil.copy(video, tmp_path / 'drive.mp4')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *a: None
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f'http://127.0.0.1:{server.server_port}/drive.mp4'
        results = list(inference_model(model, address))
        server.shutdown()
    assert len(results) == 5


PALETTES = {
    'names.txt': 'road 1 2 3\ncar 4 5 6\n',
    'order.txt': 'car 4 5 6\nRoad 1 2 3\nmore 9 9 9\n',
    'hex.txt': 'road #010203\ncar #040506\n',
    'bare.txt': '1 2 3\n4 5 6\n',
    'table.csv': 'name,r,g,b\ncar,4,5,6\nroad,1,2,3\n',
    'dict.json': '{"road": [1, 2, 3], "car": "#040506"}',
}


@pytest.mark.parametrize('name', PALETTES)
def test_colours_come_in_many_forms(name, tmp_path):
    (tmp_path / name).write_text(PALETTES[name])
    assert read_palette(tmp_path / name, ('road', 'car')) == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ('text', 'said'),
    [('road 1 2 3\n', 'no colour for car'), ('1 2 3\n', '1 colours for 2 classes'),
     ('road\ncar\n', 'no colour for road, car'), ('', 'no names'), ('\0' * 9, r'p\.txt')],
)  # fmt: skip
def test_a_file_that_lacks_a_colour_is_named(text, said, tmp_path):
    path = tmp_path / 'p.txt'
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_palette(path, ('road', 'car'))
    assert str(path) in str(caught.value)
    with pytest.raises(FileNotFoundError, match='nowhere'):
        read_palette(tmp_path / 'nowhere', ('road',))
