"""Names with quotes, newlines, braces and no text at all reach a config as what they are."""

import ast
import os
import runpy
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
from helpers.run_tool import TOOLS
from mmengine.config import Config

from segkit.engine.config import load_config
from segkit.engine.config_files import plain_config
from segkit.inspection.new_config import write_config
from segkit.inspection.quoting import comment, literal, plain, shell_word

RUN = '__import__("pathlib").Path("PWNED").touch()'
HOSTILE = [
    f'd"""\n{RUN}\n"""',
    f"d'''\n{RUN}\n'''",
    f'd\n{RUN.replace("/", "")}',
    f"d', {RUN}, '",
    f'd", {RUN}, "',
    f'\\\n{RUN}#',
    f'$({RUN.replace("/", "")}) `x` ; "a" \'b\' $HOME * ~ !x',
    'x\\Users\\new',
    'ends in a backslash\\',
    '{{ fileDirname }}',
    f"{{{{ fileBasename }}}}', {RUN}, '",
    '{{$HOME:x}} {{_base_.num_classes}} {{{{',
    "b'; {0} {root} %s",
    '# -*- coding: utf-7 -*-',
    'a\rb\tc\x0bd\x0ce\x85f\u2028g\u202eh',
    'b\udcffad',
    'ünï',
    ' leading and trailing ',
]


def tool_arguments(words: list) -> Namespace:
    """What the tool's own parser makes of a command line."""
    tool = runpy.run_path(str(TOOLS / 'new_dataset.py'))
    with mock.patch.object(sys, 'argv', ['new_dataset', *map(str, words)]):
        return tool['parse_args']()


def build(root: Path, stems: list[str]) -> Path:
    for kind, array in (('images', np.zeros((32, 32, 3), np.uint8)), ('masks', np.eye(32) > 0)):
        (root / kind).mkdir(parents=True)
        for stem in stems:
            data = cv2.imencode('.png', array.astype(np.uint8))[1].tobytes()
            (root / kind / f'{stem}.png').write_bytes(data)
    return root


def write(root: Path, **options) -> tuple[Config, list[str]]:
    out = root / 'config.py'
    given = tool_arguments([root, '--workers', 0, '--val-fraction', 0.5])
    for name, value in options.items():
        setattr(given, name, value)
    lines = list(write_config(given, out))
    only_settings(out.read_text())
    return load_config(out), lines


def only_settings(source: str) -> None:
    """Nothing but names set to literals and ``dict(...)`` of them."""
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.Import | ast.ImportFrom | ast.Attribute | ast.Lambda), node
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name), ast.dump(node)
            assert node.func.id == 'dict'


@pytest.mark.parametrize('name', HOSTILE)
def test_a_folder_of_any_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = build(tmp_path / name, ['a', 'b'])

    cfg, lines = write(root)

    assert cfg.data_root == str(root)
    assert all(line.isprintable() for line in lines), lines
    assert not list(tmp_path.rglob('PWNED'))


@pytest.mark.parametrize('name', HOSTILE)
def test_files_and_classes_of_any_name(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = 'a ' + plain(name.splitlines()[0]).strip()
    (tmp_path / 'names.txt').write_text(f'{first}\nother\n', encoding='utf-8')
    root = build(tmp_path / 'data', [name.replace('/', ''), 'b', 'c'])

    cfg, lines = write(root, classes=str(tmp_path / 'names.txt'))

    assert cfg.metainfo.classes == (first, 'other')
    assert all(line.isprintable() for line in lines), lines
    assert not list(tmp_path.rglob('PWNED'))
    listed = [path.read_text().splitlines() for path in root.glob('config_*.txt')]
    listable = name.splitlines() == [name.strip()] and '\udcff' not in name
    assert sorted(sum(listed, [])) == sorted(['b', 'c'] + [name.replace('/', '')] * listable)
    assert listable != any('left out of' in line for line in lines)


def test_each_way_of_quoting_gives_back_what_it_was_given():
    values = [*HOSTILE, dict.fromkeys(HOSTILE, 1), [tuple(HOSTILE)], {7: 0, 255: 1}]
    for value in values:
        text = literal(value)
        assert '{{' not in text
        assert ast.literal_eval(text) == value
    shell = 'printf "%s\\0" ' + ' '.join(map(shell_word, HOSTILE))
    assert shell.isprintable()
    printed = subprocess.run(['bash', '-c', shell], capture_output=True, check=True).stdout
    assert printed == b''.join(os.fsencode(name) + b'\0' for name in HOSTILE)
    for name in HOSTILE:
        assert plain(name).isprintable()
        assert ast.parse(f'# {comment(name)}').body == []
        assert '{{' not in comment(name)


@pytest.mark.parametrize('name', [*HOSTILE, "a'\"{{$NOPE:b'}}x", '{{fileDirname}}'])
def test_the_config_that_training_writes_says_the_same(tmp_path, name):
    cfg = plain_config(Config(dict(data_root=name, other={name: [name]})))
    cfg.dump(str(tmp_path / 'dumped.py'))
    back = load_config(tmp_path / 'dumped.py')
    assert back.data_root == name
    assert back.other == {name: [name]}
