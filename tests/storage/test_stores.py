"""Objects of a store: read whole, again where a fault may pass, or a sentence."""

import multiprocessing
import sys
from io import BytesIO

import pytest
from helpers.object_store import Store, forget_connections

from segkit import storage
from segkit.errors import DataError
from segkit.storage import StoreError, stores

DATA = bytes(range(256)) * 40
DAMAGE = ['truncated', 'damaged']
PASSING = ['reset', '503', '500', 'broken', *DAMAGE]


def test_what_is_read_is_what_is_there(store: Store):
    address = store.put('a b/ü.png', DATA)
    assert storage.read(address) == DATA
    assert storage.read(store.put('empty', b'')) == b''
    assert stores.read(address, 100, 300) == DATA[100:300]
    assert storage.exists(address)
    assert not storage.exists(address + '.no')


def test_a_listing_tells_versions_so_that_reading_is_one_request(store: Store):
    store.put('list/img/x/1.jpg', DATA)
    store.put('list/img/2.jpg', b'two')
    found = storage.list_folder('s3://pictures/list/img')
    assert set(found) == {'x/1.jpg', '2.jpg'}
    store.requests.clear()
    for name, version in found.items():
        storage.read(f's3://pictures/list/img/{name}', version)
    assert [method for method, _, _ in store.requests] == ['GET', 'GET']
    assert storage.list_folder('s3://pictures/list/nothing') == {}


def test_many_objects_are_listed_over_pages(store: Store):
    store.put_many(f'many/{number:05d}' for number in range(1003))  # S3 gives a thousand at a time
    assert len(storage.list_folder('s3://pictures/many')) == 1003


@pytest.mark.parametrize('kind', PASSING)
def test_a_fault_that_passes_is_waited_out(store: Store, kind: str):
    address = store.put('a.png', DATA)
    store.fault(kind, times=3, match='a.png')
    assert storage.read(address) == DATA
    assert [fault.left for fault in store.faults] == [0]


def test_a_slow_answer_is_asked_for_again(store: Store, monkeypatch):
    address = store.put('slow.png', DATA)
    monkeypatch.setenv('SEGKIT_STORE_TIMEOUT', '2')
    forget_connections()
    store.fault('slow', times=1, match='slow.png', pause=5)
    assert storage.read(address) == DATA


@pytest.mark.parametrize('kind', [*PASSING, 'slow'])
def test_a_fault_that_stays_is_a_sentence(store: Store, kind: str, monkeypatch):
    address = store.put('bad.png', DATA)
    monkeypatch.setenv('SEGKIT_STORE_TRIES', '2')
    monkeypatch.setenv('SEGKIT_STORE_TIMEOUT', '2' if kind == 'slow' else '30')
    forget_connections()
    store.fault(kind, times=99, match='bad.png', pause=5.0 if kind == 'slow' else 0.0)
    with pytest.raises(DataError if kind in DAMAGE else StoreError) as caught:
        storage.read(address)
    said = str(caught.value)
    assert said.startswith(address)
    assert '\n' not in said
    cure = 'Upload the object again' if kind in DAMAGE else 'SEGKIT_STORE_TRIES'
    assert cure in said
    assert ' 2 t' in said  # how often it was tried
    asked = 99 - store.faults[0].left  # the client itself asks twice on a connection that was lost
    assert asked == 2 or (kind == 'reset' and asked <= 4)


def test_what_cannot_pass_is_asked_for_once(store: Store):
    store.put('denied.png', DATA)
    store.fault('denied', times=9, match='denied.png', method='HEAD')
    store.fault('denied', times=9, match='denied.png')
    for call in (storage.read, lambda a: stores.read(a, 0, 9)):
        store.requests.clear()
        with pytest.raises(StoreError, match='AWS_ACCESS_KEY_ID') as caught:
            call('s3://pictures/denied.png')
        assert 's3://pictures/denied.png' in str(caught.value)
        assert len(store.requests) == 1
    for missing in ('s3://pictures/none.png', 's3://no-such-bucket/a.png'):
        store.requests.clear()
        with pytest.raises(FileNotFoundError, match='AWS_ENDPOINT_URL') as caught:
            storage.read(missing)
        assert missing in str(caught.value)
        assert len(store.requests) <= 2  # s3fs then looks whether it is a folder
    with pytest.raises(FileNotFoundError, match='bucket'):
        storage.list_folder('s3://no-such-bucket/a')


def test_no_credentials_at_all(store: Store, monkeypatch):
    address = store.put('a.png', DATA)
    monkeypatch.delenv('AWS_ACCESS_KEY_ID')
    monkeypatch.delenv('AWS_SECRET_ACCESS_KEY')
    forget_connections()
    with pytest.raises(StoreError, match='AWS_PROFILE'):
        storage.read(address)


def test_only_one_creates_an_object(store: Store):
    assert stores.create('s3://pictures/lock', b'one')
    assert not stores.create('s3://pictures/lock', b'two')
    assert store.get('lock') == b'one'
    stores.remove('s3://pictures/lock')
    stores.remove('s3://pictures/lock')
    assert stores.create('s3://pictures/lock', b'three')


def _read_in_child(address: str, queue) -> None:
    queue.put(storage.read(address))


def test_a_forked_process_makes_its_own_connections(store: Store):
    address = store.put('a.png', DATA)
    assert storage.read(address) == DATA  # this process has a connection, and its thread
    fork = multiprocessing.get_context('fork')
    queue = fork.Queue()
    children = [fork.Process(target=_read_in_child, args=(address, queue)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [DATA] * 3
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    assert storage.read(address) == DATA


def test_other_stores_and_local_addresses(tmp_path):
    stores.put('memory://box/a/b.png', DATA)
    assert storage.read('memory://box/a/b.png') == DATA
    assert set(storage.list_folder('memory://box')) == {'a/b.png'}
    assert stores.create('memory://box/new', b'1')
    assert not stores.create('memory://box/new', b'2')
    (tmp_path / 'a b.png').write_bytes(DATA)
    assert storage.read(f'file://{tmp_path}/a%20b.png') == DATA
    with pytest.raises(FileNotFoundError):
        storage.read('memory://box/none')
    with pytest.raises(StoreError, match='nosuchthing://'):
        storage.read('nosuchthing://x/y')


def test_an_address_may_name_a_host_and_no_password(monkeypatch):
    import fsspec
    from fsspec.implementations.ftp import FTPFileSystem

    monkeypatch.setattr(FTPFileSystem, '_connect', lambda self: setattr(self, 'ftp', BytesIO()))
    hosts = [stores._system(f'ftp://{host}/a.png')[0].host for host in ('one', 'two', 'one')]
    assert hosts == ['one', 'two', 'one']
    assert fsspec.get_filesystem_class('ftp') is FTPFileSystem
    for address in ('s3://AKIA:hush@pictures/a.png', 'ftp://me:hush@one/a.png'):
        for call in (storage.read, storage.list_folder, storage.version_of):
            with pytest.raises(StoreError, match='environment') as caught:
                call(address)
            assert 'hush' not in str(caught.value)
            assert caught.value.__cause__ is None


def test_without_the_package_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'fsspec', None)
    forget_connections()
    with pytest.raises(StoreError, match=r"pip install 'segkit\[s3\]'"):
        storage.read('s3://pictures/a.png')
