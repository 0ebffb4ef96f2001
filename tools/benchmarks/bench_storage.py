"""Reading pictures and labels from loose files and from shards, on a disk and in S3.

    python tools/benchmarks/bench_storage.py [--repeats 5] [--pairs 24] [--only reading] [--csv]

- Reading: JPEG and label PNG of ADE20K's size, one after the other, in one process, files in the
  page cache; the S3 server is moto's, a process of its own on the loopback, so that the wall time
  beside a disk is what the client and a server in Python cost, and no network. CPU time is that of
  the reader alone. ``share``: of the CPU time that a whole training sample takes (decode, resize,
  crop, photometric distortion) from local files.
- Names: growth of the resident memory of a whole prediction over so many names, from the list to
  predictions.json; the network is left out, and one picture's result stands for all.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from harness import interleaved, peak_memory, run
from made_pictures import write_rooms

BUCKET = 'bench'
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]


@contextlib.contextmanager
def s3_server() -> Iterator[None]:
    """moto's server in a process of its own; clients find it by the environment."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    code = f'from moto.server import main; main(["-H", "127.0.0.1", "-p", "{port}"])'
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = subprocess.Popen([sys.executable, '-c', code], **quiet)
    settings = dict(
        AWS_ENDPOINT_URL=f'http://127.0.0.1:{port}', AWS_ACCESS_KEY_ID='x',
        AWS_SECRET_ACCESS_KEY='x', AWS_DEFAULT_REGION='us-east-1', SEGKIT_OBJECT_CACHE='0',
    )  # fmt: skip
    try:
        with mock.patch.dict(os.environ, settings):
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port)):
                    break
                time.sleep(0.1)
            yield
    finally:
        server.terminate()
        server.wait()


def upload(folder: Path, prefix: str) -> str:
    """A folder into the bucket; its address."""
    import boto3

    client = boto3.client('s3', endpoint_url=os.environ['AWS_ENDPOINT_URL'])
    with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f'{prefix}/{path.relative_to(folder)}')
    return f's3://{BUCKET}/{prefix}'


def pack(root: Path, out: Path) -> str:
    """The pairs of a folder as shards; their address."""
    from segkit.storage.shard_writer import sample_members, shards_of, write_shards

    names = sorted(path.stem for path in (root / 'img').iterdir())
    samples = [
        sample_members(str(root), f'{root}/img/{n}.jpg', f'{root}/ann/{n}.png') for n in names
    ]
    write_shards(out, list(shards_of(out, 'train', samples, 1000)), map)
    return f'shards://{out}'


def dataset(root: str, **kwargs: object):
    from segkit.datasets import BaseSegDataset

    classes = tuple(map(str, range(151)))
    return BaseSegDataset(
        data_root=root, data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=classes), **kwargs,
    )  # fmt: skip


def reader(root: str) -> Callable[[], int]:
    """A call that reads every image and label of a data set once; gives their bytes."""
    from segkit import storage

    data = dataset(root)
    infos = [data.get_data_info(i) for i in range(len(data))]

    def read() -> int:
        return sum(
            len(storage.read(info[f'{key}_path'], info.get(f'{key}_version', '')))
            for info in infos
            for key in ('img', 'seg_map')
        )

    return read


def requests_of(call: Callable[[], object]) -> int:
    """How often a call asks a store."""
    from segkit.storage import stores

    with mock.patch.object(stores, '_call', wraps=stores._call) as asked:
        call()
    return asked.call_count


def with_cache(folder: Path, call: Callable[[], int]) -> Callable[[], int]:
    def read() -> int:
        with mock.patch.dict(os.environ, SEGKIT_OBJECT_CACHE=str(folder)):
            return call()

    return read


def reading(args: argparse.Namespace) -> list[dict]:
    """Six ways to the same bytes."""
    with tempfile.TemporaryDirectory() as temporary, s3_server():
        root, packed = Path(temporary) / 'loose', Path(temporary) / 'shards'
        write_rooms(root, args.pairs)
        pack(root, packed)
        in_s3 = upload(root, 'loose'), f'shards://{upload(packed, "shards")}'
        calls = {
            'files on disk': reader(str(root)),
            'shards on disk': reader(f'shards://{packed}'),
            'files in S3': reader(in_s3[0]),
            'shards in S3': reader(in_s3[1]),
        }
        for name in ('files in S3', 'shards in S3'):
            calls[f'{name}, cached'] = with_cache(Path(temporary) / 'cache', calls[name])
            calls[f'{name}, cached']()
        requests = {name: requests_of(call) for name, call in calls.items()}
        nbytes = {name: call() for name, call in calls.items()}
        assert len(set(nbytes.values())) == 1, nbytes
        data = dataset(str(root), pipeline=PIPELINE)
        wall: dict[str, list[float]] = {name: [] for name in calls}
        timed = {name: _noting(call, wall[name]) for name, call in calls.items()}
        timed['sample'] = lambda: [data[i] for i in range(len(data))]
        cpu = interleaved(timed, args.repeats)
        middle = {name: sorted(times)[args.repeats // 2] for name, times in wall.items()}
        return [
            {
                'where': name,
                'cpu_ms_a_pair': round(1e3 * cpu[name] / args.pairs, 3),
                'wall_ms_a_pair': round(1e3 * middle[name] / args.pairs, 3),
                'pairs_a_second': round(args.pairs / middle[name]),
                'share_of_a_sample': round(cpu[name] / cpu['sample'], 3),
                'requests_a_pair': requests[name] / args.pairs,
                'kB_a_pair': round(nbytes[name] / args.pairs / 1e3, 1),
            }
            for name in calls
        ]  # fmt: skip


def _noting(call: Callable[[], object], seconds: list[float]) -> Callable[[], None]:
    def timed() -> None:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)

    return timed


def predicting(names: int) -> Callable[[], object]:
    """A whole prediction over so many names, without network and files."""
    import numpy as np

    from segkit.apis import init_model, predict
    from segkit.structures import SegDataSample

    folder = Path(tempfile.mkdtemp())
    with open(folder / 'names.txt', 'w') as file:
        file.writelines(f'street/{i // 1000:04d}/picture_{i:07d}.png\n' for i in range(names))
    model = init_model('pspnet_r18-d8_shapes')
    sample = SegDataSample()
    shares = predict._shares(np.zeros((8, 8), np.uint8), model.dataset_meta['classes'])

    def write(picture, sample, model, name, *rest: object) -> dict:
        mask, overlay = predict._files_of(name)
        return dict(name=name, path=picture.path, width=8, height=8, mask=mask, overlay=overlay,
                    classes=shares)  # fmt: skip

    def everything() -> int:
        stand_ins = dict(
            _write=write,
            stamps=lambda out, files: {file: [100, 0] for file in files},
            predict_stream=lambda model, stream, *rest: ((p, sample) for p in stream),
        )
        with mock.patch.multiple(predict, **stand_ins):
            return predict.predict_to_folder(model, folder / 'names.txt', folder / 'out')

    return everything


def names(args: argparse.Namespace) -> Iterator[dict]:
    """Memory that names cost."""
    for count in args.names:
        mib = peak_memory(__file__, 'predicting', names=count)
        yield {'names': count, 'MiB': round(mib, 1), 'bytes_a_name': round(mib * 2**20 / count)}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--pairs', type=int, default=24)
    parser.add_argument('--names', type=int, nargs='+', default=[1000, 100_000, 1_000_000])


if __name__ == '__main__':
    run(__doc__, {'storage_reading': reading, 'storage_names': names}, add=options)
