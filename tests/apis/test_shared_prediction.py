"""A prediction that processes share, that is killed and goes on: the files of one process."""

import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.object_store import s3_server

from segkit.apis import init_model
from segkit.apis.named_pictures import NamedPictures
from segkit.apis.predict import predict_to_folder
from segkit.apis.sources import Picture, pictures
from segkit.engine.dist import leave_dist
from segkit.engine.joining import init_dist
from segkit.errors import UserError

SMALL = {
    'model.backbone.base_channels': 8,
    'model.decode_head.in_channels': 64,
    'model.auxiliary_head.in_channels': 32,
}
_SERVER = multiprocessing.get_context('forkserver')
_SERVER.set_forkserver_preload(['helpers.fault_child', 'segkit.apis.predict'])


def network():
    torch.manual_seed(0)
    model = init_model('pspnet_r18-d8_shapes', cfg_options=SMALL)
    with torch.no_grad():  # weights that are the same in every process
        for number, value in enumerate(model.state_dict().values()):
            if value.is_floating_point():
                value.copy_(torch.sin(torch.arange(value.numel()) * 0.7 + number).view_as(value))
    return model.eval()


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """24 pictures in sub-folders; two names are there twice, one file is no picture."""
    root = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for i in range(24):
        path = root / 'abc'[i % 3] / f'{i}{".png" if i % 2 else ".PNG"}'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(cv2.imencode('.png', rng.integers(0, 255, (40, 56, 3), np.uint8))[1])
    (root / 'a/3.bmp').write_bytes((root / 'a/3.png').read_bytes())
    (root / 'b/broken.png').write_bytes(b'no picture')
    return root


@pytest.fixture(scope='module')
def one(folder, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp('one') / 'out'
    assert predict_to_folder(network(), folder, out, on_error=lambda _: None) == 25
    return tree(out)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob('*') if p.is_file()}  # fmt: skip


def _rank(environment: dict, source: str, out: str, resume: bool) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    init_dist('pytorch', 'gloo', timeout=60)
    predict_to_folder(network(), source, out, on_error=lambda _: None, resume=resume)
    leave_dist()


def start(ranks: int, source: object, out: Path, resume: bool = False) -> list:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    names = 'XDG_STATE_HOME', 'HOME', 'AWS_ENDPOINT_URL', 'AWS_ACCESS_KEY_ID'
    shared = {name: os.environ[name] for name in names if name in os.environ}
    shared |= dict(AWS_SECRET_ACCESS_KEY='test', AWS_DEFAULT_REGION='us-east-1')
    shared |= dict(WORLD_SIZE=str(ranks), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    processes = []
    for rank in range(ranks):
        environment = dict(shared, RANK=str(rank), LOCAL_RANK=str(rank))
        given = environment, str(source), str(out), resume
        processes.append(_SERVER.Process(target=_rank, args=given))
        processes[-1].start()
    return processes


def finish(processes: list) -> None:
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_killed_ranks_go_on_to_the_files_of_one_process(folder, one, tmp_path):
    out = tmp_path / 'out'
    processes = start(2, folder, out)
    end = time.monotonic() + 120
    while len(list(out.glob('.predict/*.jsonl'))) < 2 or len(list(out.glob('masks/*/*.png'))) < 6:
        assert time.monotonic() < end
        time.sleep(0.005)
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
        process.join(20)
    assert not (out / 'predictions.json').exists()
    journal = [line for file in out.glob('.predict/*.jsonl') for line in file.open()]
    entries = [json.loads(line) for line in journal if line.endswith('\n')]
    broken, *kept = [entry[4] for entry in entries]
    (out / broken['mask']).write_bytes((out / broken['mask']).read_bytes()[:-9])
    from segkit.outputs import note

    note(out / broken['mask'], 'predict')
    (out / 'masks/.19.png.999999999.tmp').write_bytes(b'')  # of one killed while writing it
    with open(next(out.glob('.predict/*.jsonl')), 'ab') as file:
        file.write(b'[3, "cut')
    stamps = {r['mask']: (out / r['mask']).stat().st_mtime_ns for r in kept}
    assert stamps
    finish(start(2, folder, out, resume=True))
    assert tree(out) == one
    assert {name: (out / name).stat().st_mtime_ns for name in stamps} == stamps


def test_another_number_of_ranks_and_other_settings(folder, one, tmp_path):
    out, model = tmp_path / 'out', network()

    class StopError(Exception):
        pass

    seen = []

    def stop(_: str) -> None:  # at the broken one, far in
        seen.append(1)
        raise StopError

    with pytest.raises(StopError):
        predict_to_folder(model, folder, out, on_error=stop)
    with pytest.raises(UserError, match='begun with another options'):
        predict_to_folder(model, folder, out, opacity=0.3, resume=True)
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    with pytest.raises(UserError, match='begun with another weights'):
        predict_to_folder(model, folder, out, resume=True)
    finish(start(3, folder, out, resume=True))
    assert tree(out) == one


def test_a_list_a_store_and_shards(folder, one, tmp_path):
    names = sorted(str(p) for p in folder.rglob('*') if p.is_file())
    (tmp_path / 'names.txt').write_text(''.join(f'{name}\n\n' for name in names))
    start_of = folder.as_posix().lstrip('/')
    with s3_server() as store:
        address = store.put_folder(folder, 'predict')
        out = tmp_path / 'store'
        finish(start(2, address, out))
        found = tree(out)
        del found['predictions.json']
        assert found == {name: data for name, data in one.items() if name != 'predictions.json'}
        listed = list(pictures(str(tmp_path / 'names.txt')))
    assert [p.path for p in listed] == names
    assert listed[0].folder == f'{start_of}/a'


def test_the_order_of_a_folder_is_that_of_its_paths(tmp_path):
    for name in ('a.png', 'a/b.png', 'a/c/d.png', 'a-1.png', 'a.b/x.jpg', '.h/x.png', 'z/.x.png',
                 'Z.JPG', 'n.txt.png', 'b.csv'):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(p.path).relative_to(tmp_path) for p in pictures(tmp_path)]
    expected = [p.relative_to(tmp_path) for p in tmp_path.rglob('*') if p.is_file()]
    kept = [p for p in expected if '/.' not in f'/{p}' and p.suffix != '.csv']
    assert found == sorted(kept)
    assert len(found) == 7


def test_names_are_those_of_a_walk_that_remembers_all():
    from collections import Counter

    from segkit.apis.predict import _unused

    rng = np.random.default_rng(1)
    made = [f'{"aAb"[rng.integers(3)]}{"_2" * rng.integers(3)}' for _ in range(200)]
    found = [Picture(name, name, None) for name in made]
    used = Counter[str]()
    assert [name for _, name, _ in NamedPictures(lambda: iter(found))] == [
        _unused(picture, used) for picture in found
    ]


def test_live_sources_are_of_one_process(monkeypatch):
    from segkit.apis import predict

    monkeypatch.setattr(predict, 'get_dist_info', lambda: (1, 2))
    with pytest.raises(UserError, match='without torchrun'):
        predict_to_folder(network(), 'rtsp://camera/1', 'nowhere')
