"""Work directories in a store, and data from one: two ranks, killed, go on to the same weights."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.fault_child import Training
from helpers.object_store import Store, forget_connections, s3_server
from helpers.runs import assert_same_run, differences, read, train
from helpers.tiny_config import tiny_config

from segkit.engine import remote_folder
from segkit.engine.errors import TrainingError
from segkit.engine.remote_folder import RemoteFolder, local_folder
from segkit.engine.which_checkpoint import require_checkpoint
from segkit.errors import ConfigError
from segkit.storage import stores

RUN = 's3://pictures/run'


@pytest.fixture(scope='module')
def _server() -> Iterator[Store]:
    with s3_server() as store:
        yield store


@pytest.fixture
def store(_server: Store, tmp_path, monkeypatch) -> Iterator[Store]:
    """A server whose bucket is empty, and a machine that has nothing staged."""
    monkeypatch.setattr(stores, '_PAUSE', 0.01)
    monkeypatch.setattr(remote_folder, 'BEAT', 0.2)
    monkeypatch.setattr(remote_folder, 'LEASE', 1.0)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'machine'))
    _server.faults.clear()
    for key in _server.keys('run'):
        stores.remove(f's3://pictures/{key}')
    _server.requests.clear()
    yield _server
    forget_connections()


def puts(store: Store) -> list[str]:
    return [path.split('?')[0].removeprefix('/pictures/')
            for method, path, _ in store.requests if method == 'PUT']  # fmt: skip


def run(**options):
    cfg = tiny_config(Path('x'), **options)
    cfg.work_dir = RUN
    from segkit.engine import Runner

    return Runner.from_cfg(cfg)


def test_checkpoints_go_up_whole_and_the_pointer_last(store: Store, tmp_path, monkeypatch):
    train(tmp_path / 'local')
    store.fault('503', times=2, match='iter_4.pth', method='PUT')
    store.fault('reset', times=1, match='last_checkpoint', method='PUT')
    run().train()
    names = {key.removeprefix('run/') for key in store.keys('run') if not key.endswith('.py')}
    local = {path.name for path in (tmp_path / 'local').glob('*[!y]') if path.is_file()}
    assert {name for name in names if '/' not in name} == local
    assert any(name.endswith('.log') for name in names)  # logs too
    done = puts(store)
    for name in ('iter_4.pth', 'iter_8.pth'):
        following = done[len(done) - done[::-1].index(f'run/{name}') :]
        assert 'run/last_checkpoint' in following
    assert store.get('run/last_checkpoint') == b'iter_8.pth'
    (tmp_path / 'got.pth').write_bytes(store.get('run/iter_8.pth'))
    assert_same_run(tmp_path / 'got.pth', tmp_path / 'local/iter_8.pth')

    # The best, or else the last, of what the store has.
    assert require_checkpoint(RUN).startswith(f'{RUN}/best_mIoU_')
    for key in store.keys('run/best_'):
        stores.remove(f's3://pictures/{key}')
    assert require_checkpoint(RUN) == f'{RUN}/iter_8.pth'
    # Another machine goes on from there, where its newest is damaged from the one before.
    store.put('run/iter_8.pth', store.get('run/iter_8.pth')[:-200])
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'other'))
    runner = run(resume='auto')
    runner.train()
    log = next(Path(runner.log_dir).glob('*.log')).read_text()
    assert 'iter_8.pth cannot be resumed from' in log
    assert 'at iteration 6' in log
    (tmp_path / 'again.pth').write_bytes(store.get('run/iter_8.pth'))
    assert_same_run(tmp_path / 'again.pth', tmp_path / 'local/iter_8.pth')


def test_a_store_that_does_not_answer_costs_no_training(store: Store, monkeypatch):
    monkeypatch.setenv('SEGKIT_STORE_TRIES', '1')
    store.fault('503', times=1, match='iter_2.pth', method='PUT')
    runner = run()
    runner.train()
    assert store.get('run/last_checkpoint') == b'iter_8.pth'
    store.fault('503', times=99, match='iter_', method='PUT')
    with pytest.raises(stores.StoreError, match='SEGKIT_STORE_TRIES'):
        run().train()


def test_one_run_holds_a_folder(store: Store):
    told: list[str] = []
    said = f'in use by another run .host {socket.gethostname()}'
    one, two = RemoteFolder(RUN), RemoteFolder(RUN)
    with one.locked(told.append), pytest.raises(ConfigError, match=said), two.locked(print):
        pass
    assert store.keys('run') == []
    assert told == []
    # Of a process of this machine that is no more: at once. Of another machine: after its lease.
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    for machine, least in ((remote_folder._machine(), 0.0), ('elsewhere', 1.0)):
        store.put('run/.running', json.dumps(dict(machine=machine, process=dead.pid)).encode())
        start = time.monotonic()
        with RemoteFolder(RUN).locked(told.append):
            assert time.monotonic() - start >= least
        assert 'takes over' in told.pop()


def test_no_pointer_is_there_before_what_it_names(store: Store, monkeypatch):
    monkeypatch.setenv('SEGKIT_STORE_TRIES', '1')
    folder = RemoteFolder(RUN)
    folder.staging.mkdir(parents=True)
    for name in ('a.log', 'last_checkpoint', 'z.pth'):
        (folder.staging / name).write_text('z.pth')
    folder.discard('old.pth')
    store.put('run/old.pth', b'old')
    store.fault('503', match='z.pth', method='PUT')
    with pytest.raises(stores.StoreError):
        folder.push()
    assert store.keys('run') == ['run/a.log', 'run/old.pth']
    store.requests.clear()
    folder.push()
    assert puts(store) == ['run/z.pth', 'run/last_checkpoint']
    assert store.keys('run') == ['run/a.log', 'run/last_checkpoint', 'run/z.pth']
    folder.push()
    assert len(puts(store)) == 2  # nothing is new


def test_a_file_of_an_earlier_version_is_not_taken_for_the_one_in_the_store(store: Store):
    """Checkpoints of one network have one size."""
    store.put('run/iter_2.pth', b'one')
    for data in (b'one', b'two'):
        store.put('run/iter_2.pth', data)
        for _ in range(2):
            store.requests.clear()
            assert RemoteFolder(RUN).fetch('iter_2.pth').read_bytes() == data
        assert [method for method, _, _ in store.requests] == ['HEAD']  # it is there by then
    path = RemoteFolder(RUN).staging / 'iter_2.pth'
    path.write_bytes(b'six')  # of a run on this machine
    assert RemoteFolder(RUN).fetch('iter_2.pth').read_bytes() == b'two'


def test_what_never_went_up_is_put_aside(store: Store):
    told: list[str] = []
    folder = RemoteFolder(RUN)
    folder.staging.mkdir(parents=True)
    for name in ('iter_2.pth', 'iter_4.pth', 'last_checkpoint'):
        (folder.staging / name).write_text(name)
    store.put('run/iter_2.pth', b'iter_2.pth')
    folder.begin(told.append)
    kept = [path for path in folder.staging.rglob('*') if path.is_file()]
    assert [path.read_text() for path in kept] == ['iter_4.pth']
    assert len(told) == 1
    assert str(kept[0].parent) in told[0]
    folder.push()
    folder.begin(told.append)
    assert store.keys('run') == ['run/iter_2.pth']
    assert len(told) == 1
    assert kept[0].is_file()


def test_a_work_dir_as_a_local_address(tmp_path):
    assert local_folder(f'file://{tmp_path}/a%20b') == str(tmp_path / 'a b')
    cfg = tiny_config(tmp_path / 'x')
    cfg.work_dir = f'file://{tmp_path}/run'
    from segkit.engine import Runner

    assert Runner.from_cfg(cfg).work_dir == str(tmp_path / 'run')


def test_a_run_that_was_taken_for_dead_uploads_nothing(store: Store):
    folder = RemoteFolder(RUN)
    folder.staging.mkdir(parents=True)
    with folder.locked(print):
        (folder.staging / 'iter_2.pth').write_bytes(b'x')
        store.put('run/.running', json.dumps(dict(host='other', process=1, mark='y')).encode())
        with pytest.raises(TrainingError, match='no longer of this run but of host other'):
            folder.push()
    assert store.keys('run') == ['run/.running']  # the other's


def test_a_store_without_conditions_is_named(store: Store, monkeypatch):
    monkeypatch.setattr(stores, 'create', lambda address, data: stores.put(address, data) or True)
    told: list[str] = []
    with RemoteFolder(RUN).locked(told.append):
        pass
    assert 'nothing keeps a second run out' in told[0]


# -- two ranks -------------------------------------------------------------------------------------


def data_options(root: str) -> dict:
    """The tiny data set, its pictures from files below ``root``."""
    part = dict(type='BaseSegDataset', data_root=root, img_suffix='.png', metainfo=dict(
        classes=tuple('abcdefghijklm'), palette=[[i, i, i] for i in range(13)]))  # fmt: skip
    prefix = {k: dict(img_path=f'{k}/img', seg_map_path=f'{k}/lab') for k in ('train', 'val')}
    base = tiny_config(Path('x'))
    loaders = {}
    for split in ('train', 'val', 'test'):
        kind = 'val' if split == 'test' else split
        pipeline = base[f'{split}_dataloader'].dataset.pipeline
        dataset = dict(part, data_prefix=prefix[kind], pipeline=pipeline, _delete_=True)
        loaders[f'{split}_dataloader__dataset'] = dict(dataset, test_mode=split != 'train')
    short = dict(train_cfg__max_iters=4, train_cfg__val_interval=4)
    workers = dict(train_dataloader__num_workers=1, train_dataloader__persistent_workers=True)
    return {**loaders, **workers, **short, 'resume': 'auto', 'launcher': 'pytorch'}


@pytest.fixture(scope='module')
def pictures(tmp_path_factory) -> Path:
    import cv2
    import numpy as np

    root = tmp_path_factory.mktemp('data') / 'root'
    rng = np.random.default_rng(0)
    for split, count in (('train', 5), ('val', 1)):
        for number in range(count):
            for kind, values in (
                ('img', rng.integers(0, 256, (64, 64, 3), np.uint8)),
                ('lab', np.repeat(np.repeat(rng.integers(0, 13, (8, 8), np.uint8), 8, 0), 8, 1)),
            ):
                path = root / split / kind / f'{number}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode('.png', values)[1].tobytes())
    return root


class Job:
    """Two ranks, which have imported everything; ``log`` is what they printed."""

    def __init__(self, log: Path, root: str, work_dir: str) -> None:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        shared = dict(os.environ, WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        self.ranks = [
            Training(
                work_dir, dict(shared, RANK=str(r), LOCAL_RANK=str(r)), log, **data_options(root)
            )  # fmt: skip
            for r in range(2)
        ]

    @property
    def log(self) -> str:
        return ''.join(rank.log for rank in self.ranks)

    def kill_when(self, ready: Callable[[], bool], limit: float = 150) -> None:
        end = time.monotonic() + limit
        while not ready():
            assert time.monotonic() < end, self.log[-3000:]
            assert all(r.process.is_alive() for r in self.ranks), self.log[-3000:]
            time.sleep(0.1)
        for rank in self.ranks:
            assert rank.kill_after(0, signal.SIGKILL)
        for rank in self.ranks:
            assert rank.wait() == -signal.SIGKILL

    def finish(self) -> None:
        assert [rank.wait() for rank in self.ranks] == [0, 0], self.log[-3000:]


def test_two_ranks_on_a_store_and_on_shards_killed_end_at_the_weights_of_the_local_run(
    store: Store, pictures: Path, tmp_path
):
    from helpers.run_tool import run_tool

    config = tmp_path / 'data.py'
    options = data_options(str(pictures))
    loaders = {s: dict(options[f'{s}_dataloader__dataset']) for s in ('train', 'val')}
    for dataset in loaders.values():
        del dataset['_delete_']
    text = [f'{s}_dataloader = dict(dataset={d!r})' for s, d in loaders.items()]
    config.write_text('\n'.join(["default_scope = 'segkit'", *text]))
    status, said = run_tool('dataset_converters/to_shards', config, '--out-dir',
                            tmp_path / 'shards', '--per-shard', 3, '--workers', 1)  # fmt: skip
    assert status == 0, said
    loose = store.put_folder(pictures, 'loose')
    packed = 'shards://' + store.put_folder(tmp_path / 'shards', 'shards')

    local = Job(tmp_path / 'local', str(pictures), str(tmp_path / 'local'))
    local.finish()
    final = tmp_path / 'local/iter_4.pth'
    for name, root in (('loose', loose), ('packed', packed)):
        work_dir = f's3://pictures/run-{name}'
        store.fault('reset', times=2, match='img')
        store.fault('503', times=2, match='.tar')
        job = Job(tmp_path / name, root, work_dir)
        job.kill_when(lambda key=f'run-{name}/last_checkpoint': key in store.keys(key))
        assert f'run-{name}/iter_4.pth' not in store.keys(f'run-{name}')
        store.fault('broken', times=2, match='/img')
        Job(tmp_path / name, root, work_dir).finish()
        assert 'Resumed from' in job.log
        assert 'takes over' in job.log
        got = tmp_path / f'{name}.pth'
        got.write_bytes(store.get(f'run-{name}/iter_4.pth'))
        assert not differences(read(got)['state_dict'], read(final)['state_dict'])
        assert not differences(read(got)['optimizer'], read(final)['optimizer'])
