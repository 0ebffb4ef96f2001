"""A full disk, a folder that takes nothing, a link in the place of a file of ours, an odd result:
each is a sentence, and nothing else is written over."""

import errno
import json
import os
import subprocess

import pytest

from segkit.apis.app.guard import _from_elsewhere
from segkit.engine.command_line import run_script
from segkit.engine.folders import locked
from segkit.errors import ConfigError, EvaluationError
from segkit.evaluation.run_results import read_run
from segkit.json_file import JsonError, read_json
from segkit.storage import StoreError, stores
from segkit.whole_file import whole_file, write_text


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG])
def test_what_a_disk_says_is_a_sentence_that_names_the_file(number, tmp_path, capsys):
    path = tmp_path / 'scores.json'
    write_text(path, 'old')

    def main() -> None:
        with whole_file(path) as file:
            file.write(b'half')
            raise OSError(number, os.strerror(number))

    with pytest.raises(SystemExit) as leaving:
        run_script(main)
    assert leaving.value.code == 1
    said = capsys.readouterr().err
    assert str(path) in said
    assert os.strerror(number) in said
    assert 'Traceback' not in said
    assert len(said.split('. ')) == 2  # with what to do
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['scores.json']


def test_a_device_that_is_full(capsys):
    if not os.path.exists('/dev/full'):
        pytest.skip('this system has no /dev/full')

    def main() -> None:
        with open('/dev/full', 'wb', buffering=0) as file:
            file.write(b'x')

    with pytest.raises(SystemExit):
        run_script(main)
    assert 'No space left on device. Make room' in capsys.readouterr().err


def test_other_errors_of_the_system_keep_their_traceback():
    def main() -> None:
        raise OSError(errno.EIO, 'nobody foresaw it')

    with pytest.raises(OSError, match='nobody foresaw it'):
        run_script(main)


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/.running').symlink_to(victim)
    with pytest.raises(ConfigError, match=r'\.running cannot be opened'), locked(tmp_path / 'run'):
        pass
    assert victim.read_text() == 'mine'
    (tmp_path / 'run/.running').unlink()
    (tmp_path / 'run/.running').write_bytes(b'\xff\xfe no text')  # of a machine that fell
    with locked(tmp_path / 'run'):
        assert b'process' in (tmp_path / 'run/.running').read_bytes()


def test_a_device_is_no_file_of_json(monkeypatch):
    if not os.path.exists('/dev/zero'):
        pytest.skip('this system has no /dev/zero')
    with pytest.raises(JsonError, match='/dev/zero: is longer than 1000 bytes'):
        read_json('/dev/zero', 1000)


@pytest.mark.parametrize(
    'content',
    [dict(classes=[], metrics=[]), dict(classes=[], metrics=dict(mIoU='5')), dict(classes=[5]),
     dict(classes=[{'class': 'a', 'IoU': '<b>'}], metrics={}), dict(classes=None), [], 5,
     dict(classes=[{'class': 'a', 'IoU': [1]}], metrics={})],
)  # fmt: skip
def test_a_result_that_is_none_is_named(content, tmp_path):
    path = tmp_path / 'results.json'
    path.write_text(json.dumps(content))
    with pytest.raises(EvaluationError, match='not a result file'):
        read_run(path)


@pytest.mark.parametrize(
    'address',
    ['s3://key:hunter2@bucket/x', 'simplecache::s3://key:hunter2@bucket/x',
     'zip://a.png::https://me:hunter2@host/a.zip'],
)  # fmt: skip
def test_no_address_of_a_store_holds_a_password(address):
    with pytest.raises(StoreError, match='would be saved with the run') as caught:
        stores.read_all(address)
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize(
    ('headers', 'refused'),
    [
        ({}, False), ({'origin': 'http://evil.example'}, True), ({'origin': 'null'}, True),
        ({'origin': 'http://127.0.0.1:7860'}, False), ({'origin': 'http://127.0.0.1:7861'}, True),
        ({'origin': 'http://127.0.0.1:7860.evil.example'}, True),
        ({'origin': 'https://a.hf.space', 'x-forwarded-host': 'a.hf.space'}, False),
        ({'sec-fetch-site': 'same-origin', 'origin': 'https://behind.a.proxy'}, False),
        ({'sec-fetch-site': 'cross-site', 'origin': 'http://127.0.0.1:7860'}, True),
        ({'sec-fetch-site': 'same-site'}, True), ({'sec-fetch-site': 'none'}, False),
    ],
)  # fmt: skip
def test_who_posts_to_the_page(headers, refused):
    given = {'host': '127.0.0.1:7860', **headers}
    scope = dict(headers=[(name.encode(), value.encode()) for name, value in given.items()])
    assert _from_elsewhere(scope) is refused


@pytest.mark.parametrize('given', ['0', '08', '', 'x', '-1', '1.5', 'a[$(touch X)]', '4'])
def test_counts_of_the_launchers_are_numbers_from_one_on(given, tmp_path):
    from helpers.run_tool import TOOLS

    code = f'source {TOOLS}/launch_lib.sh; number GPUS "$1"'
    done = subprocess.run(['bash', '-c', code, '-', given], cwd=tmp_path, capture_output=True)
    status, said = done.returncode, done.stdout
    assert (status, said) == (0, b'4\n') if given == '4' else status == 1
    assert os.listdir(tmp_path) == []
