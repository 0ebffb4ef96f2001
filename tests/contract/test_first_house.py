"""What people have from the first house goes on: runs, hub folders, caches, published files.

``first_house/`` was written by the tag v0.9 (make_fixtures.py). Where that release went on bit for
bit, this one ends in the same weights: to some millionths on a machine that rounds as the one it
was written on, elsewhere to a thousandth. Bits went twice, as CHANGELOG says: the loss by bands
resizes in one piece what fits a cache, and convolutions leave out taps that fall outside of the
map, and so they add up in another order. A batch, a draw or a rate
that is not the one of the run never stopped is off by far more.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from contract.runs import HOUSE, RUNS, Run, arithmetic, unpacked, weights_of
from helpers import hub_server
from helpers.hub_server import hub
from helpers.run_tool import TOOLS, run_tool

from segkit.apis import inference_model, init_model
from segkit.apis.export import load_exported
from segkit.apis.hub import pull_from_hub
from segkit.datasets import BaseSegDataset, DataError

KNOWN = json.loads((HOUSE / 'manifest.json').read_text())
# Holds only while a step is under way, so a finished run has none.
OF_THE_MOMENT = {'partial_gradients'}
# Told who had run it; a run card is made to be shown.
PRIVATE = {'host'}


@pytest.fixture(scope='module')
def house(tmp_path_factory) -> Path:
    """A copy that tests read."""
    folder = unpacked(tmp_path_factory.mktemp('house'))
    for name, time in KNOWN['times'].items():
        os.utime(folder / name, ns=(time, time))
    return folder


@pytest.fixture(scope='module')
def went_on(tmp_path_factory) -> Callable[[Run], tuple[Path, str]]:
    """Resume a run to its end: the folder it was given, what was said. Each run is resumed once."""
    done: dict[str, tuple[Path, str]] = {}

    def go_on(run: Run) -> tuple[Path, str]:
        if run.name not in done:
            folder = unpacked(tmp_path_factory.mktemp(run.name))
            done[run.name] = folder, resume(run, folder)
        return done[run.name]

    return go_on


def resume(run: Run, folder: Path) -> str:
    arguments = [run.config, '--work-dir', run.folder, '--resume']
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if run.ranks == 1:
            status, said = run_tool('train', *arguments)
        else:
            command = [sys.executable, '-m', 'torch.distributed.run', '--standalone']
            command += [f'--nproc_per_node={run.ranks}', str(TOOLS / 'train.py'), *arguments]
            environment = dict(os.environ, OMP_NUM_THREADS='1')
            ended = subprocess.run(command, env=environment, capture_output=True, text=True)
            status, said = ended.returncode, ended.stdout + ended.stderr
    assert status == 0, said[-3000:]
    return said


def each_run(test):
    return pytest.mark.parametrize('run', RUNS, ids=lambda run: run.name)(test)


def test_there_are_runs_of_every_kind():
    assert len(RUNS) == 7
    assert set(KNOWN['runs']) == {run.name for run in RUNS}
    assert sum(known['exact'] for known in KNOWN['runs'].values()) >= 6


@each_run
def test_a_stopped_run_ends_where_the_run_never_stopped(run, went_on, house):
    folder, said = went_on(run)
    stopped = KNOWN['runs'][run.name]['stopped']
    assert stopped in said
    got = weights_of(folder / run.folder / run.end)
    wanted = torch.load(house / f'ends/{run.name}.pth', weights_only=True)
    assert set(got) == set(wanted)
    assert all(value.isfinite().all() for value in got.values())
    if not KNOWN['runs'][run.name]['exact']:
        return
    alike = (KNOWN['torch'], KNOWN['arithmetic']) == (torch.__version__, arithmetic())
    off = {name: apart(got[name], value) for name, value in wanted.items()}
    assert {name: by for name, by in off.items() if by > (1e-5 if alike else 1e-3)} == {}


def apart(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest weight."""
    scale = float(wanted.double().abs().max()) + 1e-3
    return float((got.double() - wanted.double()).abs().max()) / scale


@each_run
def test_a_key_that_went_is_named_once(run, went_on, house):
    folder, said = went_on(run)
    stopped = KNOWN['runs'][run.name]['stopped']
    before = torch.load(house / run.folder / stopped, weights_only=True)
    after = torch.load(folder / run.folder / run.end, weights_only=True)
    gone = set(before) - set(after) - OF_THE_MOMENT
    gone |= set(before['meta']) - set(after.get('meta', {}))
    assert not {key for key in gone if key not in said}


def test_the_run_card_holds_what_it_held(went_on, house):
    folder, _ = went_on(RUNS[0])
    before = json.loads((house / RUNS[0].folder / 'run.json').read_text())
    after = json.loads((folder / RUNS[0].folder / 'run.json').read_text())
    assert set(before) <= set(after)
    assert set(before['environment']) - set(after['environment']) <= PRIVATE
    assert (before['iteration'], after['iteration']) == (5, 8)
    assert before['data'].keys() <= after['data'].keys()
    assert before['data']['samples'] == after['data']['samples'] == 8


def seen_by(model: torch.nn.Module, house: Path) -> None:
    """The model sees in two pictures what it saw: logits to 1e-5, hardly a class otherwise."""
    model.test_cfg = dict(model.test_cfg, keep_logits=True)
    with np.load(house / 'predictions/pictures.npz') as wanted:
        names = sorted({key.partition('.')[0] for key in wanted.files})
        assert len(names) == 2
        assert len(np.unique(wanted[f'{names[0]}.classes'])) > 1
        for name in names:
            sample = inference_model(model, str(house / f'data/img/{name}.png'))
            logits = wanted[f'{name}.logits']
            off = np.abs(sample.seg_logits.data.numpy() - logits).max()
            assert off <= 1e-5 * np.abs(logits).max()
            classes = sample.pred_sem_seg.data.numpy()[0]
            assert (classes != wanted[f'{name}.classes']).mean() <= 1e-3


def test_a_published_checkpoint_predicts_as_it_did(house):
    (path,) = (house / 'published').glob('net-*.pth')
    model = init_model(house / 'iterations.py', path)
    assert list(model.dataset_meta['classes']) == ['sky', 'road', 'tree', 'house', 'car']
    seen_by(model, house)


def test_a_hub_folder_is_pulled_as_it_was_pushed(house, tmp_path):
    content = (house / 'hub/model.safetensors').read_bytes()
    with hub() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setitem(hub_server._Hub.files, 'someone/first/model.safetensors', content)
        model = pull_from_hub('someone/first', cache_dir=tmp_path, endpoint=endpoint)
    assert list(model.dataset_meta['classes']) == ['sky', 'road', 'tree', 'house', 'car']
    seen_by(model, house)


@pytest.mark.parametrize('kind', ['raw', 'rows'])
def test_a_decoded_cache_is_refused_and_written_again_by_what_the_refusal_says(kind, house):
    """Caches have checksums since; what there is of old ones is made anew, as CHANGELOG says."""

    def build(**options) -> BaseSegDataset:
        prefix = dict(img_path='img', seg_map_path='ann')
        steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
        return BaseSegDataset(
            data_root=str(house / 'data'), data_prefix=prefix, img_suffix='.png',
            seg_map_suffix='.png', pipeline=steps, **options,
        )  # fmt: skip

    folder = house / 'caches' / kind
    with pytest.raises(DataError, match='Write the cache again with .*cache_dataset'):
        build(cache=str(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(house)
        status, said = run_tool(
            'cache_dataset', 'iterations.py', folder, '--format', kind, '--workers', '0'
        )
    assert status == 0, said
    cached, decoded = build(cache=str(folder)), build()
    assert len(cached) == len(decoded) == 8
    for index in range(8):
        got, wanted = cached[index], decoded[index]
        assert np.array_equal(got['img'], wanted['img'])
        assert np.array_equal(got['gt_seg_map'], wanted['gt_seg_map'])


def test_an_onnx_file_runs_as_it_did(house):
    with np.load(house / 'predictions/onnx.npz') as wanted:
        got = load_exported(house / 'onnx/net.onnx', 'onnx')(torch.from_numpy(wanted['image']))
        off = np.abs(got.numpy() - wanted['logits']).max()
        assert off <= 1e-5 * np.abs(wanted['logits']).max()
    props = {p.key: p.value for p in onnx.load(house / 'onnx/net.onnx').metadata_props}
    assert json.loads(props['classes'])[0] == 'sky'


def test_the_files_tell_nothing_of_the_machine_they_were_made_on(house):
    private = re.compile(rb'(?<![\w.])/(?:home|root|work|tmp|usr|Users)/\w|pyenv')
    paths = [path for path in house.rglob('*') if path.is_file()]
    assert len(paths) >= 50
    assert [str(p.relative_to(house)) for p in paths if private.search(p.read_bytes())] == []
