"""Names to URLs, and transfers that break off, lie or succeed, against a local server."""

import hashlib
import io
import threading

import pytest
import torch
from helpers.checkpoint_files import published, tiny_model
from helpers.flaky_server import serving

from segkit.weights import CheckpointError, DownloadError, load_checkpoint, sources
from segkit.weights.downloads import expected_hash, fetch

DATA = bytes(range(256)) * 40
NAME = f'model_20200606_103117-{hashlib.sha256(DATA).hexdigest()[:8]}.pth'


@pytest.fixture
def server(monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('no_proxy', '*')
    with serving({f'/{NAME}': DATA, '/plain.pth': DATA}) as running:
        yield running


def test_a_download_is_kept_and_not_repeated(server, tmp_path):
    url = f'{server.url}/{NAME}'

    assert fetch(url, tmp_path / NAME).read_bytes() == DATA
    fetch(url, tmp_path / NAME)

    assert len(server.requests) == 1
    assert not list(tmp_path.glob('*.part'))


def test_an_interrupted_transfer_continues_where_it_stopped(server, tmp_path):
    server.break_after = [1000, 2000]

    assert fetch(f'{server.url}/{NAME}', tmp_path / NAME).read_bytes() == DATA

    assert [wanted for _, wanted in server.requests] == [None, 'bytes=1000-', 'bytes=3000-']


def test_a_transfer_that_keeps_breaking_is_continued_by_the_next_call(server, tmp_path):
    server.break_after = [100] * 4

    with pytest.raises(DownloadError, match=r'failed 4 times .*400 bytes are kept .*next call con'):
        fetch(f'{server.url}/{NAME}', tmp_path / NAME)
    assert not (tmp_path / NAME).exists()

    assert fetch(f'{server.url}/{NAME}', tmp_path / NAME).read_bytes() == DATA
    assert server.requests[-1][1] == 'bytes=400-'


def test_a_server_that_ignores_range_starts_over(server, tmp_path):
    server.ranges, server.break_after = False, [1000]

    assert fetch(f'{server.url}/{NAME}', tmp_path / NAME).read_bytes() == DATA


def test_a_wrong_hash_is_discarded(server, tmp_path):
    server.files[f'/{NAME}'] = DATA[:-1] + b'x'

    with pytest.raises(DownloadError) as caught:
        fetch(f'{server.url}/{NAME}', tmp_path / NAME)

    assert expected_hash(NAME) in str(caught.value)
    assert NAME in str(caught.value)
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.glob('*.part'))


def test_a_part_of_another_file_is_not_continued_into_a_wrong_one(server, tmp_path):
    (tmp_path / f'{NAME}.part').write_bytes(b'?' * 500)

    assert fetch(f'{server.url}/{NAME}', tmp_path / NAME).read_bytes() == DATA


@pytest.mark.parametrize('content', [DATA, DATA + b'more'])
def test_a_part_as_long_as_the_file_or_longer(server, tmp_path, content):
    (tmp_path / f'{NAME}.part').write_bytes(content)

    assert fetch(f'{server.url}/{NAME}', tmp_path / NAME).read_bytes() == DATA


def test_a_missing_file_is_not_tried_again(server, tmp_path):
    with pytest.raises(DownloadError, match=r'nothing-here\.pth: the server answers 404'):
        fetch(f'{server.url}/nothing-here.pth', tmp_path / 'a')
    assert len(server.requests) == 1


def test_a_cache_that_cannot_be_written_says_so(server, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(DownloadError, match=r'file/cache: downloads cannot .*set SEGKIT_CACHE'):
        fetch(f'{server.url}/{NAME}', tmp_path / 'file/cache' / NAME)


def test_no_server_at_all(tmp_path):
    with pytest.raises(DownloadError, match='Without a network, fetch the file elsewhere'):
        fetch('http://127.0.0.1:9/a.pth', tmp_path / 'a.pth', timeout=1)


def test_many_ranks_download_once(server, tmp_path):
    target = tmp_path / NAME
    ranks = [threading.Thread(target=fetch, args=(f'{server.url}/{NAME}', target)) for _ in '1234']
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()

    assert target.read_bytes() == DATA
    assert len(server.requests) == 1


def test_load_checkpoint_takes_a_url(server, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    buffer = io.BytesIO()
    model = tiny_model()
    torch.save(published(model), buffer)
    server.files['/net.pth'] = buffer.getvalue()

    for _ in range(2):
        state = load_checkpoint(f'{server.url}/net.pth')['state_dict']
        assert torch.equal(state['backbone.0.weight'], model.backbone[0].weight)
    assert len(server.requests) == 1


def weights(number):
    buffer = io.BytesIO()
    torch.save({'a': torch.full((5000,), float(number))}, buffer)
    return buffer.getvalue()


def loaded(url):
    return load_checkpoint(url)['a'].unique().tolist()


def test_equal_names_without_a_hash_do_not_share_a_cache_entry(server, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    server.files.update({'/a/net.pth': weights(1), '/b/net.pth': weights(2)})
    assert loaded(f'{server.url}/a/net.pth') == [1]
    assert loaded(f'{server.url}/b/net.pth') == [2]


@pytest.mark.parametrize('tags', [('"a"', '"a"'), ('"a"', '"b"'), ('W/"a"', 'W/"a"'), ('', '')])
def test_only_the_same_file_is_continued(server, tmp_path, monkeypatch, tags):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    server.files['/net.pth'], server.etag = weights(1), tags[0]
    server.break_after = [4000] * 4
    with pytest.raises(DownloadError, match='next call continues there'):
        loaded(f'{server.url}/net.pth')
    kept = tags == ('"a"', '"a"')
    server.files['/net.pth'], server.etag = weights(1 if kept else 2), tags[1]
    del server.requests[:]
    assert loaded(f'{server.url}/net.pth') == [1 if kept else 2]
    continued = [wanted for _, wanted in server.requests if wanted]
    assert bool(continued) == (tags[0] == '"a"')
    assert not [path for path in tmp_path.iterdir() if '.part' in path.name]


BAD = {
    'cut short': (weights(1)[:9000], 'truncated'),
    'login page': (b'<html>please log in</html>', 'a web page'),
    'empty': (b'', 'empty'),
    'an answer in JSON': (b'{"error": "no such model"}', 'JSON'),
    'another format': (b'\x89HDF\r\n' + bytes(500), 'HDF5'),
    'a pickle that runs': (b'cos\nsystem\n(S"touch CANARY"\ntR.', 'refused'),
}


@pytest.mark.parametrize('name', BAD)
@pytest.mark.parametrize('length', [True, False])
def test_what_is_no_checkpoint_never_enters_the_cache(server, tmp_path, monkeypatch, name, length):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    server.length = length
    content, said = BAD[name]
    server.files['/net.pth'] = content
    with pytest.raises(CheckpointError, match=said):
        loaded(f'{server.url}/net.pth')
    assert {path.suffix for path in tmp_path.iterdir()} <= {'.lock'}
    server.files['/net.pth'] = weights(3)
    assert loaded(f'{server.url}/net.pth') == [3]


def test_what_an_older_release_cached_unread_is_fetched_again(server, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_CACHE', str(tmp_path))
    server.files['/net.pth'] = weights(4)
    loaded(f'{server.url}/net.pth')
    [cached] = tmp_path.glob('*.pth')
    cached.write_bytes(b'<html>')
    assert loaded(f'{server.url}/net.pth') == [4]


def test_more_than_the_bound_is_refused_with_and_without_a_length(server, tmp_path):
    for server.length in (True, False):
        with pytest.raises(DownloadError, match='1000'):
            fetch(f'{server.url}/plain.pth', tmp_path / 'a.pth', largest=1000)
    assert not (tmp_path / 'a.pth').exists()


def test_a_server_that_trickles_is_given_up(server, tmp_path):
    server.pause = 0.2
    with pytest.raises(DownloadError, match=r'only \d+ bytes came in|timed out'):
        fetch(f'{server.url}/plain.pth', tmp_path / 'a.pth', timeout=0.15)


@pytest.mark.parametrize(
    ('source', 'url'),
    [
        (
            'open-mmlab://resnet50_v1c',
            'https://download.openmmlab.com/pretrain/third_party/resnet50_v1c-2cccc1ad.pth',
        ),
        (
            'open-mmlab://resnet101_v1c',
            'https://download.openmmlab.com/pretrain/third_party/resnet101_v1c-e67eebb6.pth',
        ),
        ('torchvision://resnet50', 'https://download.pytorch.org/models/resnet50-0676ba61.pth'),
        (
            'timm://resnet50d',
            'https://huggingface.co/timm/resnet50d.ra2_in1k/resolve/main/model.safetensors',
        ),
        (
            'timm://resnet50.a2_in1k',
            'https://huggingface.co/timm/resnet50.a2_in1k/resolve/main/model.safetensors',
        ),
        ('hf://a/b', 'https://huggingface.co/a/b/resolve/main/model.safetensors'),
        ('hf://a/b@v1/c/d.pth', 'https://huggingface.co/a/b/resolve/v1/c/d.pth'),
        ('/a/b.pth', None),
    ],
)
def test_names_and_their_urls(source, url):
    assert sources.resolve_url(source) == url


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(CheckpointError, match='no such weights; the nearest is open-mmlab://resn'):
        sources.resolve_url('open-mmlab://resnet50v1c')


@pytest.mark.parametrize('name', ['', 'a', 'a/../../etc', 'a b/c', 'a/b?x=1'])
def test_a_name_that_is_no_repository_is_refused(name):
    with pytest.raises(CheckpointError, match='write hf://OWNER/NAME'):
        sources.resolve_url(f'hf://{name}')


def test_an_unknown_scheme_is_named():
    with pytest.raises(CheckpointError, match=r"gopher://a/b\.pth: the scheme 'gopher' is unknown"):
        sources.resolve_url('gopher://a/b.pth')


@pytest.mark.parametrize(
    ('name', 'promised'),
    [
        ('psanet_r50-d8_20200606_103117-99fac37c.pth', '99fac37c'),
        ('resnet50-0676ba61.pth', '0676ba61'),
        ('psanet_r50-d8_512x1024.pth', None),
        ('iter_40000.pth', None),
    ],
)
def test_the_hash_in_a_file_name(name, promised):
    assert expected_hash(name) == promised
