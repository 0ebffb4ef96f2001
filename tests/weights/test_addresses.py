"""Addresses and answers that no well-meaning server or user has: a sentence, or the right file."""

import http.server
import os
import threading
import urllib.request
from pathlib import Path

import pytest
import torch

from segkit.errors import CheckpointError, DataError, DownloadError, UserError
from segkit.shared_text import shareable, without_secrets
from segkit.weights import load_checkpoint, load_into, write_checkpoint
from segkit.weights.addresses import HttpAlone
from segkit.weights.sources import cached_at


@pytest.fixture
def weights(tmp_path) -> bytes:
    with open(tmp_path / 'w.pth', 'wb') as file:
        write_checkpoint({'state_dict': {'weight': torch.arange(9.0)}}, file)
    return (tmp_path / 'w.pth').read_bytes()


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """``serve(answer)`` gives the address of a server; ``answer(handler)`` writes to its socket."""
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path / 'cache'))
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                answer(self)
                self.close_connection = True

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f'http://127.0.0.1:{server.server_address[1]}'

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(body: bytes, status: int = 200, **headers: str):
    def answer(handler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace('_', '-'), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    'name', ['größe.pth', 'a b.pth', f'{"a" * 400}.pth', 'x.pth#part', 'x.pth?a=b c', '%2e%2e.pth']
)
def test_any_name_of_a_file_is_asked_for_and_kept_in_the_cache(serve, weights, tmp_path, name):
    address = f'{serve(send(weights))}/{name}'
    assert load_checkpoint(address)['state_dict']['weight'].sum() == 36
    kept = cached_at(address)
    assert kept.parent == tmp_path / 'cache'
    assert kept.is_file()
    assert kept.suffix == '.pth'


@pytest.mark.parametrize(
    'address',
    [
        'http://127.0.0.1/a\nb.pth', 'http://127.0.0.1/a\0b.pth', 'http://[::1/x.pth',
        'http://127.0.0.1:99999/x.pth', 'http:///x.pth', 'http://127.0.0.1:0/x.pth',
        'https://me:SECRET@127.0.0.1/x.pth',
    ],
)  # fmt: skip
def test_what_is_no_address_is_a_sentence(serve, address):
    with pytest.raises(DownloadError, match=r'is no address|would be saved') as caught:
        load_checkpoint(address)
    assert 'SECRET' not in str(caught.value)


def test_the_hub_is_asked_by_http_alone(serve, monkeypatch, tmp_path):
    (tmp_path / 'a').mkdir()
    monkeypatch.setenv('HF_ENDPOINT', f'file://{tmp_path}')
    with pytest.raises(DownloadError, match='no address of http'):
        load_checkpoint('hf://a/b/w.pth')


@pytest.mark.parametrize('length', ['abc', '-5', '9' * 400, '', '1e3'])
def test_a_length_that_is_none_is_passed_by(serve, weights, length):
    address = serve(send(weights, Content_Length=length)) + '/x.pth'
    assert load_checkpoint(address)['state_dict']['weight'].sum() == 36


@pytest.mark.parametrize(
    'place', ['file:///etc/passwd', 'ftp://127.0.0.1:9/x.pth', 'gopher://x', 'data:,x', '/x.pth']
)
def test_a_server_sends_nobody_elsewhere_than_to_http(serve, place):
    with pytest.raises(DownloadError, match=r'not (allowed|followed)|infinite loop'):
        load_checkpoint(serve(send(b'', 302, Location=place)) + '/x.pth')


def test_from_https_nobody_is_sent_to_http():
    handler = HttpAlone()
    given = dict(fp=None, code=302, msg='Found', headers={})
    for start, end, followed in (
        ('https://a/x', 'http://a/x', False), ('https://a/x', 'https://b/x', True),
        ('http://a/x', 'https://a/x', True), ('http://a/x', 'http://b/x', True),
    ):  # fmt: skip
        request = urllib.request.Request(start)
        if followed:
            assert handler.redirect_request(request, newurl=end, **given).full_url == end
        else:
            with pytest.raises(DownloadError, match='no https'):
                handler.redirect_request(request, newurl=end, **given)


@pytest.mark.parametrize('tag', [b'\xff\xfe', b'a\nb: c', '→'.encode(), b'\0' * 9, b'"' * 10**5])
def test_a_damaged_note_of_the_tag_costs_the_beginning_alone(serve, weights, tag):
    address = serve(send(weights, ETag='"new"')) + '/x.pth'
    target = cached_at(address)
    target.parent.mkdir()
    Path(f'{target}.part').write_bytes(b'another beginning')
    Path(f'{target}.part.etag').write_bytes(tag)
    assert load_checkpoint(address)['state_dict']['weight'].sum() == 36


@pytest.mark.parametrize('ending', ['', '.lock', '.part'])
def test_a_folder_in_the_place_of_a_file_is_named(serve, weights, ending):
    address = serve(send(weights)) + '/x.pth'
    os.makedirs(f'{cached_at(address)}{ending}')
    with pytest.raises(CheckpointError, match='directory'):
        load_checkpoint(address)


def test_a_path_that_cannot_be_one_is_named():
    for path in ('a' * 300 + '.pth', '/' + 'b/' * 5000, 'c\0.pth', '~nobody-of-this-name/x.pth'):
        with pytest.raises(CheckpointError, match='there is no such checkpoint'):
            load_checkpoint(path)


SECRETS = [
    'https://me:SECRET@host/x.pth', 's3://key:SECRET@bucket/x', 'sftp://SECRET@host/x',
    'https://h/x.pth?X-Amz-Credential=SECRET&X-Amz-Signature=SECRET', 'https://h/x?token=SECRET',
    'https://h/x?a=1&sig=SECRET#b', 'https://h/x?api_key=SECRET', 'https://h/x?AWSAccessKeyId=SECRET',
    'https://h/x?Key-Id=SECRET', 'https://h/x?private_token=SECRET',
]  # fmt: skip


@pytest.mark.parametrize('address', SECRETS)
def test_messages_and_what_is_shared_show_no_password(address):
    for kind in (UserError, CheckpointError, DownloadError):
        assert 'SECRET' not in str(kind(f'{address}: cannot be read'))
    assert 'SECRET' not in str(DataError(address, 'cannot be read', 'Look.'))
    shared = shareable({'load_from': address, 'text': f"a = '{address}'\n"})
    assert 'SECRET' not in str(shared)
    assert without_secrets('https://h/x?size=5&mean=a:b@c') == 'https://h/x?size=5&mean=a:b@c'


def test_the_table_of_loaded_weights_shows_no_password(serve, weights):
    address = f'{serve(send(weights))}/x.pth?token=SECRET'
    report = load_into(torch.nn.PReLU(9), address, 'finetune')
    assert report.loaded == ['weight']
    assert report.source.endswith('?token=...')
    assert 'SECRET' not in report.table()
