"""Reading a file runs nothing and opens no socket, whoever wrote it and whichever reader takes it.

Configs inside weights files, JSON and YAML: tests/engine/test_gate.py, 270 more of the same table.
"""

import builtins
import fnmatch
import functools
import io
import json
import os
import pathlib
import pickle
import runpy
import shutil
import socket
import subprocess
import urllib.request
import zipfile

import numpy as np
import pytest
import torch
from helpers import found
from helpers.checkpoint_files import Build, Call
from helpers.hostile import watched
from helpers.run_folders import write_run
from mmengine.logging import HistoryBuffer

from segkit.datasets.cache import DecodedCache
from segkit.datasets.transforms import LoadImageFromFile
from segkit.engine.checkpoints import load_latest, load_verified
from segkit.engine.config import load_config
from segkit.engine.config_files import read_dumped
from segkit.errors import ConfigError
from segkit.evaluation.predictions import read_pickle
from segkit.evaluation.run_results import read_run
from segkit.evaluation.scalars import read_curves
from segkit.json_file import JsonError, read_json
from segkit.model_zoo.catalog import PUBLISHED, read_rows
from segkit.model_zoo.measured import read_measurements
from segkit.models.losses.class_weight import load_class_weight
from segkit.weights import CheckpointError, load_backbone_weights, load_checkpoint, load_into

CALLS = {
    'os.system': Call(os.system, 'touch CANARY'),
    'os.mkdir': Call(os.mkdir, 'CANARY'),
    'subprocess.Popen': Call(subprocess.Popen, ['touch', 'CANARY']),
    'subprocess.getoutput': Call(subprocess.getoutput, 'touch CANARY'),
    'exec': Call(exec, 'open("CANARY", "w")'),
    'eval': Call(eval, 'open("CANARY", "w")'),
    '__import__': Call(__import__, 'antigravity'),
    'open': Call(open, 'CANARY', 'w'),
    'io.FileIO': Call(io.FileIO, 'CANARY', 'w'),
    'Path.touch': Call(pathlib.Path.touch, pathlib.PurePosixPath('CANARY')),
    'shutil.copy': Call(shutil.copy, '/etc/hostname', 'CANARY'),
    'runpy': Call(runpy.run_path, 'evil.py'),
    'partial': Call(functools.partial, os.system, 'touch CANARY'),
    'map': Call(map, os.system, ['touch CANARY']),
    'getattr': Call(getattr, Call(__import__, 'os'), 'system'),
    'getattr chain': Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__globals__'),
    'setattr': Call(setattr, Call(__import__, 'builtins'), 'CANARY', 1),
    'urlopen': Call(urllib.request.urlopen, 'http://127.0.0.1:9/x'),
    'socket': Call(socket.create_connection, ('127.0.0.1', 9)),
    'torch.load': Call(torch.load, 'evil.pth'),
    'torch.hub': Call(torch.hub.load, 'a/b', 'c'),
    'np.load': Call(np.load, 'evil.npy'),
    'np.ndarray.tofile': Call(np.ndarray.tofile, np.zeros(1), 'CANARY'),
    'state of a class': Build(HistoryBuffer, (), {'__class__': os.system}),
    'object array': np.array([Call(os.system, 'touch CANARY')], object),
}  # fmt: skip


def as_zip(content, path):
    torch.save({'state_dict': {'w': torch.zeros(1)}, 'meta': {'x': content}}, path)


def as_legacy(content, path):
    torch.save({'x': content}, path, _use_new_zipfile_serialization=False)


def as_bare(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


def as_text(content, path):
    path.write_bytes(pickle.dumps([content], protocol=0))


def as_array(content, path):
    np.save(path, np.array([content, 1], object), allow_pickle=True)


class Layer(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 2)


CHECKPOINTS = {
    'load_checkpoint': load_checkpoint,
    'load_into': lambda path: load_into(Layer(), path),
    'backbone': lambda path: load_backbone_weights(Layer(), path),
    'resume': load_verified,
}
# reader -> (ending, writers, what calls it)
READERS = {
    **{name: ('.pth', (as_zip, as_legacy, as_bare, as_text), use)
       for name, use in CHECKPOINTS.items()},
    'predictions': ('.pkl', (as_bare, as_text), read_pickle),
    'class weights': ('.pkl', (as_bare, as_text), lambda path: load_class_weight(str(path))),
    'class weights of numpy': ('.npy', (as_array,), lambda path: load_class_weight(str(path))),
    'pictures of numpy': ('.npy', (as_array,), lambda path: LoadImageFromFile(
        imdecode_backend='cv2')(dict(img_path=str(path)))),
}  # fmt: skip


def ours(error):
    """Whether an error is of the package, or a ValueError of its losses that names the file."""
    return type(error).__module__.startswith('segkit.') or (
        type(error) is ValueError and 'cannot be used' in str(error)
    )


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.filterwarnings('ignore')
def test_pickles_that_call_are_refused_and_nothing_happens(reader, tmp_path, monkeypatch):
    assert sum(len(CALLS) * len(writers) for _, writers, _ in READERS.values()) >= 500
    ending, writers, use = READERS[reader]
    (tmp_path / 'evil.py').write_text('open("CANARY", "w")')
    wrong = []
    with watched(tmp_path, monkeypatch):
        for name, content in CALLS.items():
            for write in writers:
                path = tmp_path / f'evil{ending}'
                write(content, path)
                try:
                    use(path)
                    wrong.append((name, write.__name__, 'was taken'))
                except Exception as error:
                    if not ours(error) or str(path) not in str(error):
                        wrong.append((name, write.__name__, repr(error)))
    assert not hasattr(builtins, 'CANARY')
    assert wrong == []


DEEP = '[' * 20_000
TEXTS = {
    'empty': '', 'a list': '[1]', 'a number': '5', 'null': 'null', 'cut': '{"a": [1, 2',
    'deep': DEEP, 'a huge number': '{"a": ' + '9' * 5000 + '}', 'no UTF-8': b'{"a": "\xff"}',
    'bytes': bytes(range(256)), 'nul': '\0' * 99, 'odd': '{"classes": 5, "metrics": [], "step": 1}',
    'odd too': '{"classes": [{"class": []}], "metrics": {}, "categories": [1], "images": [2]}',
    'a tag': '!!python/object/apply:os.system ["touch CANARY"]',
    'a module': '!!python/name:os.system', 'laughs': 'a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n',
}  # fmt: skip
TEXT_READERS = {
    'read_json': ('.json', read_json),
    'config in JSON': ('.json', load_config),
    'config in YAML': ('.yaml', load_config),
    'results': ('.json', read_run),
    'class weights in JSON': ('.json', lambda path: load_class_weight(str(path))),
    'a catalogue': ('.csv', read_rows),
    'measurements': ('.csv', read_measurements),
    'a dumped config': ('.py', read_dumped),
}
# What a reader may take: JSON that is any value, a dict without a model, an empty list of weights.
TAKEN = {
    'read_json': {'a list', 'a number', 'null', 'odd', 'odd too'},
    'config in JSON': {'odd', 'odd too'},
    'config in YAML': {'odd', 'odd too', 'laughs'},
    'class weights in JSON': {'a list'},
    'a dumped config': {'empty'},
}


@pytest.mark.parametrize('reader', TEXT_READERS)
def test_odd_texts_are_named_and_nothing_happens(reader, tmp_path, monkeypatch):
    ending, use = TEXT_READERS[reader]
    wrong = []
    with watched(tmp_path, monkeypatch):
        for name, content in TEXTS.items():
            path = tmp_path / f'odd{ending}'
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            try:
                use(path)
                if name not in TAKEN.get(reader, ()):
                    wrong.append((name, 'was taken'))
            except Exception as error:
                if not ours(error) or str(path) not in str(error):
                    wrong.append((name, repr(error)[:200]))
    assert wrong == []


def test_curves_leave_out_lines_that_are_none(tmp_path):
    path = tmp_path / 'scalars.json'
    lines = [
        '{"step": 1, "loss": 2.0}',
        DEEP,
        '{"step": 2, "loss": 1' + '0' * 4000 + '}',
        '[1]',
        '',
    ]
    path.write_text('\n'.join(lines))
    assert read_curves([path]) == {'loss': ([1], [2.0])}


EVIL = 'import os\nos.system("touch CANARY")\nmodel = dict()\n'
PROGRAMS = {
    'a call': EVIL,
    'a call in a value': 'model = dict(a=__import__("os").system("touch CANARY"))\n',
    'a comprehension': 'a = [open("CANARY", "w") for _ in range(1)]\n',
    'a base': '_base_ = \'./evil.py\'\nmodel = dict(a=f\'{open("CANARY", "w")}\')\n',
    'a lambda': 'a = (lambda: open("CANARY", "w"))()\n',
    'an attribute': 'a = dict.fromkeys([1])\n',
    'stars': 'a = dict(**{"b": 1})\n',
}


@pytest.mark.parametrize('name', PROGRAMS)
def test_a_config_found_in_the_folder_of_a_run_is_read_and_not_run(name, tmp_path, monkeypatch):
    with watched(tmp_path, monkeypatch):
        path = tmp_path / 'found.py'
        path.write_text(PROGRAMS[name])
        with pytest.raises(ConfigError, match=r'found\.py: cannot be read as a config that a run'):
            read_dumped(path)


def test_what_a_run_dumps_is_read_as_it_was(tmp_path):
    cfg = load_config('pspnet_r18-d8_shapes')
    cfg.a = dict(b=-1, c=(1,), d=float('inf'), e={'x y': None}, f=[True, 'é'])
    cfg.dump(tmp_path / 'dumped.py')
    assert read_dumped(tmp_path / 'dumped.py') == cfg.to_dict()


def test_compare_runs_runs_no_config_of_a_folder(tmp_path, monkeypatch):
    from helpers.run_tool import run_tool

    runs = [write_run(tmp_path / name) for name in 'ab']
    config = next(runs[0].glob('*.py'), None) or next(runs[0].glob('*/vis_data/config.py'))
    config.write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    status, text = run_tool('compare_runs', *runs)
    assert status == 1
    assert 'is no plain setting' in text
    assert not list(tmp_path.rglob('CANARY'))


def test_a_catalogue_names_no_options_and_no_places(tmp_path):
    header, row = PUBLISHED.read_text().splitlines()[:2]
    cells = dict(zip(header.split(','), row.split(',')))
    for key, value in {
        'config': '--cfg-options', 'checkpoint': '../../.bashrc', 'url': 'file:///etc/passwd',
    }.items():  # fmt: skip
        path = tmp_path / f'{key}.csv'
        path.write_text(f'{header}\n{",".join({**cells, key: value}.values())}\n')
        with pytest.raises(ValueError, match=rf'{key}\.csv: {key}: .* is refused'):
            read_rows(path)


def test_a_cache_and_a_pointer_of_a_stranger_run_nothing(tmp_path, monkeypatch):
    with watched(tmp_path, monkeypatch):
        folder = tmp_path / 'cache'
        folder.mkdir()
        np.save(folder / 'index.npy', np.array([CALLS['os.system']], object), allow_pickle=True)
        (folder / 'data.bin').write_bytes(b'x')
        for meta in ('{}', DEEP, json.dumps(dict(version=1, codec='raw'))):
            (folder / 'cache.json').write_text(meta)
            with pytest.raises(ValueError, match='cache'):
                DecodedCache(str(folder), str(tmp_path))
        as_zip(CALLS['os.system'], tmp_path / 'iter_3.pth')
        (tmp_path / 'last_checkpoint').write_text('$(touch CANARY)\n')
        with pytest.raises(CheckpointError, match='none of its 1 checkpoints'):
            load_latest(tmp_path, lambda text: None)


def test_a_json_file_of_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / 'a.json'
    with path.open('wb') as file:
        file.truncate(2 << 30)
    with pytest.raises(JsonError, match='are too many'):
        read_json(path)


def test_archives_reach_no_place_outside(tmp_path, monkeypatch):
    with watched(tmp_path, monkeypatch):
        with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as archive:
            archive.writestr('../CANARY', b'x')
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / 'a.pth')


# Who reads what, and why it runs nothing. A new reader has to be entered here by whoever adds it.
ENTERED = {
    'tried above or in tests/engine/test_gate.py': [
        'segkit/weights/*', 'segkit/json_file.py:*', 'segkit/safe_pickle.py:*',
        'segkit/table_file.py:*',
        'segkit/engine/config_files.py:parse', 'segkit/engine/config_files.py:read_dumped',
        'segkit/engine/config_files.py:_SafeYaml.load_from_fileobj',
        'segkit/engine/checkpoints.py:*', 'segkit/engine/hooks/checkpoint.py:_saved_to_stop',
        'segkit/engine/runner.py:*',
        'segkit/apis/export/safetensors_file.py:model_of', 'segkit/apis/hub.py:pull_from_hub',
        'segkit/evaluation/predictions.py:read_pickle', 'segkit/evaluation/scalars.py:*',
        'segkit/models/losses/*:_read',
        'segkit/model_zoo/catalog.py:*', 'segkit/model_zoo/measured.py:*',
        'segkit/apis/app/guard.py:Guard._harmless',
        'segkit/apis/backends/facts.py:read_facts', 'segkit/apis/predict_resume.py:*',
        'segkit/storage/shards.py:*', 'segkit/engine/test_progress.py:*',
        'segkit/datasets/cache.py:*', 'segkit/models/backbones/timm_weights.py:*',
        'segkit/datasets/transforms/loading.py:*',
        'tools/publish_model.py:*',
    ],
    'Python configs that the user named': [
        'segkit/engine/config_files.py:_read_python', 'segkit/engine/config.py:*',
        'segkit/engine/migration/convert.py:convert', 'tools/convert_config.py:*',
    ],
    'formats of other runtimes, read back where they were written': [
        'segkit/apis/export/writers.py:*',
    ],
    'pictures, through OpenCV, Pillow and pyspng': [
        'segkit/datasets/decode.py:*', 'segkit/storage/files.py:read',
        'segkit/visualization/images.py:*', 'segkit/apis/sources.py:*',
        'segkit/inspection/*', 'segkit/apis/inference.py:*',
        'segkit/apis/app/predicting.py:refuse_large',
        'segkit/evaluation/predictions.py:Predictions.of',
        'segkit/familiar/names.py:datafrombytes', 'segkit/familiar/scores.py:_map_of',
    ],
    'files of the package, of this process or of its own making': [
        'segkit/outputs.py:*', 'segkit/datasets/metainfo.py:*', 'segkit/__main__.py:*',
        'segkit/engine/migration/leaf.py:_nearest',
        'segkit/datasets/row_codec.py:*', 'segkit/engine/hooks/run_card.py:*',
        'segkit/engine/joining.py:*', 'segkit/whole_file.py:*', 'segkit/engine/stops.py:*',
        'segkit/engine/command_line.py:*', 'segkit/engine/folders.py:*',
        'segkit/engine/remote_folder.py:*', 'segkit/apis/available.py:*',
        'segkit/apis/named_pictures.py:*', 'segkit/apis/backends/*',
        'segkit/storage/object_cache.py:*', 'segkit/storage/shard_writer.py:_read_back',
        'segkit/storage/shard_writer.py:_kept', 'segkit/apis/train_folder.py:is_of_folder',
        'segkit/ops/*', 'tools/benchmarks/*',
        'segkit/visualization/*',
    ],
    'tables written, and MATLAB files, which scipy reads as data': [
        'tools/confusion_matrix.py:*', 'tools/model_zoo.py:*', 'tools/dataset_converters/*',
        'segkit/datasets/cache_writer.py:*',
    ],
}  # fmt: skip
# Calls that would make a program of a file, wherever they stand.
_RUNS = ('pickle.load', 'pickle.loads', 'yaml.load', 'yaml.full_load', 'joblib.load', 'dill.load')


def test_every_reader_of_the_package_is_entered():
    readers = found.readers()
    patterns = [pattern for listed in ENTERED.values() for pattern in listed]
    unknown = [name for name in readers if not any(fnmatch.fnmatch(name, p) for p in patterns)]
    assert unknown == []
    runs = {name: calls & set(_RUNS) for name, calls in readers.items() if calls & set(_RUNS)}
    assert runs == {}
    assert len(readers) >= 60
    loads = [n for n, calls in readers.items() if 'torch.load' in calls and 'benchmarks' not in n]
    assert loads == ['segkit/weights/formats.py:read_file']
    parses = {n for n, c in readers.items() if c & {'json.loads', 'json.load'}}
    assert {n for n in parses if 'benchmarks' not in n} == {
        'segkit/json_file.py:parse_json',
        'segkit/weights/formats.py:_parsed',  # metadata, where text that is none stays text
        'segkit/engine/config.py:config_differences',
        'segkit/engine/hooks/run_card.py:_setting_of',  # its own text
        'segkit/datasets/metainfo.py:_all_metainfo',  # of the package
    }
