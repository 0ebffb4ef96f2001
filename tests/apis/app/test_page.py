"""The page to try a network on: in a browser, and against those who ask for more than it shows."""

import http.client
import json
import runpy
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
import yaml
from helpers.browser import CHROMIUM, browser
from PIL import Image

from segkit.apis import inference_model, init_model
from segkit.apis.app import predicting, server
from segkit.apis.app.predicting import Limits
from segkit.apis.app.space import write_space
from segkit.datasets.shapes import render_scene
from segkit.errors import UserError
from segkit.outputs import OutputError

pytest.importorskip('gradio', reason='needs gradio (requirements/app.txt)')
SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
}
MASK = "[...document.querySelectorAll('button')].find(x => x.innerText.startsWith('Mask'))"
NAMES = ['<img src=x onerror=alert(1)>', *(f'class {i}' for i in range(1, 13))]


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    network = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    torch.nn.init.normal_(network.decode_head.conv_seg.weight, std=0.5)
    network.dataset_meta = {**network.dataset_meta, 'classes': NAMES}
    return network


@pytest.fixture(scope='module')
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp('pictures') / 'a street.png'
    Image.fromarray(render_scene(0, 'val', 0, (96, 128))[0][..., ::-1]).save(path)
    return path


@pytest.fixture(scope='module')
def page(model):
    with server.running(
        model, 'a *network*', limits=Limits(megabytes=0.5, megapixels=0.1)
    ) as address:
        assert address.startswith('http://127.0.0.1:')
        yield address.rstrip('/')


def ask(address, body=None, kind='application/json', **headers):
    """Status and body."""
    headers = {'Content-Type': kind, **headers} if body is not None else headers
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def upload(page, name, data, **headers):
    """The path that the server gives an upload."""
    head = f'--X\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + b'\r\n--X--\r\n'
    return ask(f'{page}/gradio_api/upload', body, 'multipart/form-data; boundary=X', **headers)


@pytest.mark.skipif(not CHROMIUM, reason='needs Chromium (apt-get install chromium)')
def test_a_picture_dropped_gives_overlay_legend_time_and_mask(page, model, picture, tmp_path):
    with browser(tmp_path) as chrome:
        chrome.open(page)
        chrome.wait("document.querySelector('input[type=file]')")
        chrome.upload('input[type=file]', picture)
        cells = "[...document.querySelectorAll('table.legend tbody td')].map(x => x.innerText)"
        chrome.wait("document.querySelector('table.legend tbody td')")
        cells = chrome.value(cells)
        sample = inference_model(model, str(picture), confidence=True)
        labels = sample.pred_sem_seg.data[0].numpy()
        present, counts = np.unique(labels, return_counts=True)
        rows = [tuple(cells[i : i + 4]) for i in range(0, len(cells), 4)]
        share = [f'{100 * count / labels.size:.1f} %' for count in counts]
        sure = sample.confidence.data[0].numpy()
        means = [f'{100 * sure[labels == i].mean():.0f} %' for i in present]
        expected = {('', NAMES[i], *two) for i, *two in zip(present, share, means)}
        assert len(present) >= 3
        assert set(rows) == expected
        text = chrome.value('document.body.innerText')
        assert '128 x 96 pixels in ' in text
        assert 'a *network*' in text
        mask = chrome.download(MASK, tmp_path / 'got')
        assert mask.name == 'a_street_mask.png' or mask.name == 'a street_mask.png'
        assert (np.asarray(Image.open(mask)) == labels).all()
        chrome.wait("document.querySelectorAll('img').length >= 2")
        for width in (1300, 390):
            chrome.size(width, 844, width < 400)
            assert chrome.value('document.documentElement.scrollWidth') <= width
        own = (f'{page}/', 'data:', 'blob:')
        assert [seen for seen in chrome.requests if not seen.startswith(own)] == []
        assert len(chrome.requests) > 10
        assert chrome.complaints == []


@pytest.mark.skipif(not CHROMIUM, reason='needs Chromium (apt-get install chromium)')
def test_what_is_refused_is_said_in_the_page(page, tmp_path):
    Image.new('RGB', (400, 300)).save(tmp_path / 'large.png')
    with browser(tmp_path) as chrome:
        chrome.open(page)
        chrome.wait("document.querySelector('input[type=file]')")
        chrome.upload('input[type=file]', tmp_path / 'large.png')
        chrome.wait("document.body.innerText.includes('400 x 300 pixels, more than the 0.1')")
        assert '/tmp' not in chrome.value('document.body.innerText')


FORMS = (
    '/gradio_api/file={}', '/gradio_api/file/{}', '/file={}', '/gradio_api//file={}',
    '/static/..{}', '/static/../../..{}', '/assets/../../../..{}', '/gradio_api/proxy={}',
)  # fmt: skip


def test_no_local_path_is_served(page, picture, tmp_path):
    secret = tmp_path / 'weights.pth'
    secret.write_bytes(b'secret')
    for path in ('/etc/passwd', str(secret), str(picture), __file__, 'http://127.0.0.1:1/x'):
        for form in FORMS:
            status, body = ask(page + form.format(urllib.request.quote(path)))
            assert status in (403, 404), (form, path, status)
            assert b'root:' not in body
            assert b'secret' not in body


def test_a_call_names_only_what_was_uploaded(page, picture):
    status, body = upload(page, 'a.png', picture.read_bytes())
    assert status == 200
    own = json.loads(body)[0]
    assert ask(f'{page}/gradio_api/file={own}')[0] == 200
    folder = own.rpartition('/')[0]
    config = json.loads(ask(f'{page}/config')[1])
    call = config['dependencies'][0]['id']

    def join(path):
        data = [dict(path=path, meta={'_type': 'gradio.FileData'}), 0.5, 0]
        posted = dict(data=data, fn_index=call, session_hash='abc')
        return ask(f'{page}/gradio_api/queue/join', json.dumps(posted).encode())[0]

    assert join(own) == 200
    for path in ('/etc/passwd', 'http://127.0.0.1:1/x.png', f'{folder}/../../../etc/passwd', 7):
        assert join(path) == 403, path
    for route in ('run/predict', 'api/shown', 'call/shown', 'component_server', 'mcp/sse'):
        assert ask(f'{page}/gradio_api/{route}', b'{}')[0] == 403
    for body in (b'[' * 60_000 + b']' * 60_000, b'no JSON', b'\xff'):
        assert ask(f'{page}/gradio_api/queue/join', body)[0] == 403
    assert ask(f'{page}/gradio_api/queue/join', b'{"data": "' + b'x' * 300_000 + b'"}')[0] == 403


def test_no_page_of_another_site_posts_here(page, picture):
    for site, status in (('same-origin', 200), ('cross-site', 403), ('same-site', 403)):
        fields = {'Sec-Fetch-Site': site}
        assert ask(f'{page}/gradio_api/queue/join', b'[]', **fields)[0] == (
            422 if status == 200 else status
        )
        assert upload(page, 'a.png', picture.read_bytes(), **fields)[0] == status


def test_too_long_a_file_is_refused_while_it_is_sent(page):
    assert upload(page, 'a.png', bytes(400_000))[0] == 200
    assert upload(page, 'a.png', bytes(600_000))[0] == 413


def test_another_machines_name_is_not_answered(page):
    """A page elsewhere whose name leads to 127.0.0.1 asks under that name."""
    host, _, port = page.removeprefix('http://').partition(':')
    for name, status in (('evil.example', 400), (f'localhost:{port}', 200)):
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request('GET', '/config', headers={'Host': name})
        assert connection.getresponse().status == status
    assert "default-src 'self'" in str(urllib.request.urlopen(page).headers)


@pytest.mark.parametrize(
    ('name', 'content', 'said'),
    [
        ('a.txt', b'words', 'is no picture'),
        ('a.png', b'\x89PNG\r\n\x1a\nbroken', 'cannot be read'),
        ('a.png', bytes(600_000), '0.6 MB, more than the 0.5 MB'),
    ],
)
def test_limits_are_looked_at_before_pixels(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        predicting.refuse_large(tmp_path / name, Limits(0.5, 0.1))


def test_unknown_pixels_have_a_row_and_names_are_text(model, picture):
    shown = predicting.predict(model, picture, unknown_below=0.6)
    assert (shown.mask == 255).any()
    assert 'unknown' in [found.name for found in shown.classes]
    assert sum(found.share for found in shown.classes) == pytest.approx(1)
    assert '<img' not in predicting.legend_html(predicting.predict(model, picture))


def test_a_space_is_whole_and_its_app_serves_the_same_network(
    model, picture, tmp_path, monkeypatch
):
    title = '#1 "Roads": a {try}'
    write_space(model, tmp_path / 'space', title)
    files = {path.name: path for path in (tmp_path / 'space').iterdir()}
    assert set(files) == {'README.md', 'Dockerfile', 'app.py', 'model.safetensors'}
    heading = files['README.md'].read_text().split('---')[1]
    assert yaml.safe_load(heading) == {'title': title, 'sdk': 'docker', 'app_port': 7860}
    assert len({path.stat().st_mode for path in files.values()}) == 1
    served = {}
    monkeypatch.setattr(
        server, 'serve', lambda model, title, **given: served.update(given, m=model)
    )
    runpy.run_path(str(files['app.py']))
    assert (served['host'], served['port']) == ('127.0.0.1', 7860)
    found = inference_model(served['m'], str(picture)).pred_sem_seg.data
    assert torch.equal(found, inference_model(model, str(picture)).pred_sem_seg.data)
    write_space(model, tmp_path / 'space', title)
    files['app.py'].write_text('mine')
    with pytest.raises(OutputError, match='app.py'):
        write_space(model, tmp_path / 'space', title)
