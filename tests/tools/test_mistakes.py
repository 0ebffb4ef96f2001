"""What is typed wrongly is answered with a sentence and a status, before anything is written."""

import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from helpers.run_folders import write_run
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config
from PIL import Image


class Case(NamedTuple):
    """A tool, its arguments with {d} for the folder that ``folder`` makes, its status and words."""

    tool: str
    arguments: str
    status: int
    words: str


CASES = [
    Case('analyze_logs', '{d}/run --keys los', 1, '--keys los: in no run. There are: aAcc, class_'),
    Case('analyze_logs', '{d}/empty', 1, 'empty: no scalars found'),
    Case('analyze_logs', '{d}/nowhere', 1, 'nowhere: there is no such folder or file.'),
    Case('analyze_logs', '{d}/run --out {d}/c.xyz', 1, 'ChartFormatError: {d}/c.xyz'),
    Case('analyze_logs', '{d}/run --out {d}/bytes/c.png', 1, 'Error: '),
    Case('analyze_logs', '{d}/bytes', 1, 'no scalars found'),
    Case('benchmark', 'x.py --repeats 0', 2, 'must be positive'),
    Case('benchmark', 'x.py --train --fuse-bn', 2, '--fuse-bn is for testing'),
    Case('browse_dataset', 'c.py --out x.png --columns 0', 2, '--columns and --width must be pos'),
    Case('browse_dataset', 'c.py --out x.png --opacity 3', 2, '--opacity 3.0 must be in [0, 1]'),
    Case('browse_dataset', 'c.py --out br.gif', 1, '--out br.gif: a sheet is .png, .jpg, .jpeg, .'),
    Case('browse_dataset', '{d}/bare.py --out {d}/x.png', 1, "so there is no split 'train'"),
    Case('check_dataset', 'psanet_r50', 1, "No config file 'psanet_r50'"),
    Case('check_dataset', '{d}/bare.py --split test', 1, 'the config has none of test_dataloader'),
    Case('check_dataset', '{d}/tiny.py --cfg-options train_dataloader.dataset.num_imags=3', 1,
         "Did you mean 'num_images'"),
    Case('compare_runs', '{d}/x {d}/y', 1, 'no such work directory'),
    Case('confusion_matrix', '{d}/tiny.py {d}/one.pkl --out-dir {d}/o', 1,
         'holds 1 predictions, but the data set has 3 images'),
    Case('get_flops', 'x.py --shape 1 2 3', 2, 'give HEIGHT WIDTH'),
    Case('model_zoo', 'download psanet_r50-d8_40k_cityscapes', 1,
         "No row of the model zoo is named 'psanet_r50-d8_40k_cityscapes'; the ne"),
    Case('model_zoo', 'list --dataset kitti', 1, 'Datasets: Cityscapes, ADE20K'),
    Case('predict', 'a.png --config c --checkpoint w --out-dir {d}/o --batch-size 0', 2,
         '--batch-size 0 must be 1 or more'),
    Case('predict', 'a.png --config c --checkpoint w --out-dir {d}/o --batch-size -1', 2,
         '--batch-size -1 must be 1 or more'),
    Case('print_config', '{d}/tiny.py --key model.neck', 1,
         'neck is not in model; it has type, data_preprocessor'),
    Case('print_config', 'pspnet_r50-d8_512x512_80k_ade2k', 1, 'pspnet_r50-d8_512x512_80k_ade20k'),
    Case('print_config', '{d}/tiny.py --out x.txt', 2, 'must end with .py, .json or .yml'),
    Case('publish_model', '{d}/run.pth {d}/e.pth --ema', 1, 'leave out --ema'),
    Case('publish_model', '{d}/none.pth {d}/e.pth', 1, 'none.pth'),
    Case('publish_model', '{d}/run.pth {d}/y.onnx', 1,
         'y.onnx: this writes a .pth file; `'),
    Case('publish_model', '{d}/latest.pth {d}/e.pth --ema', 1, 'iter_N.pth or epoch_N.pth'),
    Case('visualize_attention', '{d}/tiny.py , {d}/a.png --points 64,0', 1,
         'outside the picture of 64 x 64'),
    Case('visualize_attention', '{d}/tiny.py , {d}/a.png --out {d}/o.png', 1,
         'PSPHead has no attention over pixels'),
    Case('visualize_attention', '{d}/tiny.py , {d}/none.png', 1, 'none.png does not exist'),
    Case('visualize_attention', 'c.py , x.png --opacity 3', 2, '--opacity 3.0 must be in (0, 1]'),
]  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp('mistakes')
    write_tiny_config(home).rename(home / 'tiny.py')
    (home / 'bare.py').write_text('model = dict()')
    (home / 'empty').mkdir()
    (home / 'bytes').write_bytes(b'\x80')
    write_run(home / 'run')
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(picture).save(home / 'a.png')
    (home / 'one.pkl').write_bytes(pickle.dumps([np.zeros((64, 64), np.uint8)]))
    torch.save({'state_dict': {'conv.weight': torch.ones(1)}}, home / 'run.pth')
    state = {'conv.weight': torch.ones(1), 'ema_conv_weight': torch.ones(1)}
    torch.save({'state_dict': state}, home / 'latest.pth')
    return home


@pytest.mark.parametrize('case', CASES, ids=lambda case: f'{case.tool} {case.arguments}')
def test_a_sentence_a_status_and_nothing_written(
    folder: Path, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(folder.rglob('*'))
    words = ['' if w == ',' else w.format(d=folder) for w in case.arguments.split()]

    status, text = run_tool(case.tool, *words)

    assert status == case.status, text
    assert case.words.format(d=folder) in text
    assert 'Traceback' not in text
    assert sorted(folder.rglob('*')) == before
    assert not list(tmp_path.iterdir())


def test_most_tools_are_tried() -> None:
    assert len({case.tool for case in CASES}) >= 12
    assert len(set(CASES)) == len(CASES) >= 30
