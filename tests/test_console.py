"""Names of files and classes are text on the screen, in logs, tables and pages, whatever they
hold."""

import csv
import io
import logging
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from helpers.run_tool import run_tool
from helpers.tiny_config import write_tiny_config

from segkit.apis import init_model
from segkit.console import told, told_records, told_streams
from segkit.shared_text import cell

CLASSES = (
    '<script>alert(1)</script>', '=cmd|"/c calc"!A1', '+1+1', '-2+3', '@SUM(1)',
    '\x1b]0;title\x07\x1b[31mred', '$\\frac{$', 'a,b"c\nd', '{{7*7}}', '%s%n', 'nul\0', '\u202eabc',
    'x' * 300,
)  # fmt: skip
PICTURES = ('=1+1', '\x1b[2J\x9b', '<img src=x onerror=alert(1)>', '$a_{$', 'no text \udcff', 'a b')
CONFIG = """
_base_ = 'tiny.py'
data = dict(
    type='BaseSegDataset', data_root={root!r}, img_suffix='.jpg',
    data_prefix=dict(img_path='images', seg_map_path='labels'), metainfo=dict(classes={classes!r}))
train_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.train_pipeline, **data))
test_dataloader = dict(dataset=dict(_delete_=True, pipeline=_base_.test_pipeline, **data))
val_dataloader = test_dataloader
"""
ORDERS = ('\x1b', '\x07', '\x9b', '\0', '\u202e', '\udcff')


def write_data(root: Path) -> None:
    rng = np.random.default_rng(0)
    for kind, ending, shape in (('images', 'jpg', (64, 64, 3)), ('labels', 'png', (64, 64))):
        (root / kind).mkdir(parents=True)
        for name in PICTURES:
            array = rng.integers(0, 256 if len(shape) == 3 else 13, shape, dtype=np.uint8)
            (root / kind / f'{name}.{ending}').write_bytes(
                cv2.imencode(f'.{ending}', array)[1].tobytes()
            )


def orders_in(text: str) -> set[str]:
    return {char for char in ORDERS if char in text}


def test_the_tools_print_and_write_hostile_names_as_text(tmp_path, capfdbinary):
    write_data(tmp_path / 'data')
    write_tiny_config(tmp_path)
    config = tmp_path / 'cfg.py'
    config.write_text(CONFIG.format(root=str(tmp_path / 'data'), classes=CLASSES))
    model, weights, out = [config, tmp_path / 'w.pth'], tmp_path / 'w.pth', tmp_path / 'out'
    torch.save({'state_dict': init_model(config).state_dict()}, weights)
    calls = [
        ('test', *model, '--work-dir', tmp_path / 'wd', '--report', tmp_path / 'r.html',
         '--per-picture', tmp_path / 'p.csv', '--out', out),
        ('confusion_matrix', config, out, '--out-dir', tmp_path / 'confusion'),
        ('check_dataset', config, '--html', tmp_path / 'c.html', '--workers', 0),
        ('predict', tmp_path / 'data/images', '--config', config, '--checkpoint', weights,
         '--out-dir', tmp_path / 'predicted'),
        ('new_dataset', tmp_path / 'data', '--out', tmp_path / 'new.py', '--workers', 0),
        ('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', 'train_cfg.max_iters=1'),
        ('cache_dataset', config, tmp_path / 'cache', '--workers', 0),
    ]  # fmt: skip
    for call in calls:
        status, said = run_tool(*call)
        assert status == 0, said
        assert orders_in(said) == set(), call
    assert orders_in(capfdbinary.readouterr().err.decode(errors='replace')) == set()
    written = [p for p in tmp_path.rglob('*') if p.suffix in ('.csv', '.html', '.log')]
    assert len(written) >= 7
    for path in written:
        text = path.read_text()  # all of it is UTF-8
        assert orders_in(text) == set(), path
        assert '<script>alert' not in text or path.suffix != '.html'
        assert '<img src=x' not in text or path.suffix != '.html'
        if path.suffix == '.csv':
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            assert not [c for c in cells if c[:1] in tuple('=+@') or c.startswith('-2')], path


def test_what_a_terminal_does_is_an_escape_and_letters_stay():
    assert told('a\x1b[31mb\u202e\udcff\n\tc\r') == 'a\\x1b[31mb\\u202e\\udcff\n\tc\r'
    letters = 'Straße 道路 دَرْب 🚗 \x1b[33mWARNING\x1b[0m - x'
    assert told(letters) == letters
    assert [cell(text) for text in ('=1', 'a=1', -1, 'é')] == ["'=1", 'a=1', "'-1", 'é']


def test_streams_of_other_codes_and_those_of_libraries_take_every_name(monkeypatch):
    bytes_ = io.BytesIO()
    stream = io.TextIOWrapper(bytes_, encoding='ascii')
    monkeypatch.setattr(sys, 'stdout', stream)
    with told_streams():
        print('größe \udcff')
        sys.stdout.writelines(['\x07'])
        assert sys.stdout.encoding == 'ascii'
        sys.stdout.flush()
    assert sys.stdout is stream
    assert bytes_.getvalue() == b'gr\\xf6\\xdfe \\udcff\n\\x07'


def test_a_log_takes_every_name(tmp_path):
    logger = logging.Logger('a')
    logger.addHandler(logging.FileHandler(tmp_path / 'log', encoding='utf-8'))
    told_records(logger)
    told_records(logger)
    logger.info('%s: \x1b', os.fsdecode(b'\xff'))
    assert (tmp_path / 'log').read_text() == '\\udcff: \\x1b\n'
