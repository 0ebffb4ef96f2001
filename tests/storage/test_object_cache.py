"""The cache of objects: whole entries within a bound, whatever else happens to its folder."""

import multiprocessing
import os
from pathlib import Path

import pytest
from helpers.object_store import Store

from segkit import storage
from segkit.errors import DataError, UserError
from segkit.storage import stores
from segkit.storage.object_cache import ObjectCache, through_cache


def held(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob('??/*'))


def test_an_object_is_fetched_once_and_anew_when_it_changes(store: Store, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path))
    address = store.put('cached.png', b'one' * 100)
    version = storage.version_of(address)
    store.requests.clear()
    assert [storage.read(address, version) for _ in range(3)] == [b'one' * 100] * 3
    assert len(store.requests) == 1
    store.put('cached.png', b'two' * 100)
    assert storage.read(address, storage.version_of(address)) == b'two' * 100
    assert storage.read(address, version) == b'one' * 100


def test_what_was_used_longest_ago_goes(tmp_path):
    cache = ObjectCache(tmp_path, bound=1000)
    for number in range(4):
        cache.put(f'k{number}', bytes([number]) * 200)
        os.utime(cache._place(f'k{number}'), ns=(0, number))
    assert cache.get('k0') == bytes(200)  # used: it stays
    cache.put('k4', b'4' * 200)
    assert held(tmp_path) <= 1000
    kept = [number for number in range(5) if cache.get(f'k{number}') is not None]
    assert kept == [0, 2, 3, 4]
    cache.put('large', bytes(2000))  # more than all of it
    assert cache.get('large') is None
    assert cache.get('k4') == b'4' * 200


@pytest.mark.parametrize('damage', ['cut', 'flipped', 'empty'])
def test_a_damaged_entry_is_fetched_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path))
    calls = []

    def fetch() -> bytes:
        calls.append(1)
        return b'content' * 9

    through_cache('key', fetch)
    (path,) = tmp_path.glob('??/*')
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes({'cut': path.read_bytes()[:-3], 'flipped': bytes(data), 'empty': b''}[damage])
    assert through_cache('key', fetch) == b'content' * 9
    assert through_cache('key', fetch) == b'content' * 9
    assert len(calls) == 2


def test_a_truncated_object_is_not_kept(store: Store, tmp_path, monkeypatch):
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path))
    monkeypatch.setenv('SEGKIT_STORE_TRIES', '1')
    address = store.put('cut.png', b'c' * 300)
    store.fault('truncated', match='cut.png')
    with pytest.raises(DataError):
        storage.read(address)
    assert held(tmp_path) == 0
    assert storage.read(address) == b'c' * 300
    assert held(tmp_path) > 300


def test_a_folder_that_cannot_be_written_only_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path / 'file/below'))
    assert through_cache('key', lambda: b'x') == b'x'


def test_what_tells_only_its_size_is_not_kept(tmp_path, monkeypatch):
    """Another object of that size, as many a web server has it, would be taken for the first."""
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path))
    info = stores._call
    untagged = lambda a, name, *r, **k: (  # noqa: E731
        dict(size=3) if name == 'info' else info(a, name, *r, **k)
    )
    monkeypatch.setattr(stores, '_call', untagged)
    for data in (b'one', b'two'):
        stores.put('memory://plain/a.png', data)
        assert storage.read('memory://plain/a.png') == data
    assert held(tmp_path) == 0


@pytest.mark.parametrize(
    'name', ['SEGKIT_OBJECT_CACHE_GB', 'SEGKIT_STORE_TRIES', 'SEGKIT_STORE_TIMEOUT']
)
@pytest.mark.parametrize('text', ['many', '-1', 'nan', 'inf'])
def test_a_setting_that_is_no_number_is_named(tmp_path, monkeypatch, name: str, text: str):
    monkeypatch.setenv('SEGKIT_OBJECT_CACHE', str(tmp_path))
    stores.put('memory://plain/b.png', b'b')
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=f'{name}={text}: must be a number'):
        through_cache('key', lambda: b'%d%f' % (stores.tries(), stores.seconds_for()))


def _fill(folder: Path, start: int) -> None:
    cache = ObjectCache(folder, bound=20_000)
    for number in range(60):
        cache.put(f'{start} {number}', bytes(500))
        with cache._counted():  # while no other process adds or removes
            assert held(folder) <= 20_000


def test_the_bound_holds_for_several_processes(tmp_path):
    fork = multiprocessing.get_context('fork')
    children = [fork.Process(target=_fill, args=(tmp_path, n)) for n in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert 15_000 < held(tmp_path) <= 20_000
