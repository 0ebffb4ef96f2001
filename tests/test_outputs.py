"""The gate before everything that tools write: whose a file is."""

import os
import shutil

import pytest

from segkit.outputs import (
    OutputError,
    check_outputs,
    is_own,
    is_run,
    note,
    output_file,
    own_outputs,
    refuse_inside,
)


@pytest.fixture
def own(tmp_path):
    """A file that 'test' wrote."""
    path = tmp_path / 'out' / 'a.png'
    with output_file(path, 'test') as file:
        file.write(b'first')
    return path


def test_a_file_is_written_over_by_its_writer_alone(own):
    check_outputs('--out', 'test', [own])
    with output_file(own, 'test') as file:
        file.write(b'second')
    assert own.read_bytes() == b'second'
    for writer in ('predict', 'tes'):
        with pytest.raises(OutputError, match=r'a\.png is there already.*another place'):
            check_outputs('--out', writer, [own])
        with pytest.raises(OutputError), output_file(own, writer) as file:
            file.write(b'third')
    assert own.read_bytes() == b'second'


def test_a_changed_file_is_the_users(own):
    own.write_bytes(b'by hand')
    with pytest.raises(OutputError, match='changed since'):
        check_outputs('--out', 'test', [own])


def test_the_folder_holds_the_results_alone_and_is_known_under_every_path(own, tmp_path):
    assert os.listdir(own.parent) == ['a.png']
    (tmp_path / 'link').symlink_to(own.parent)
    assert is_own(tmp_path / 'link' / 'a.png', 'test')
    assert is_own(tmp_path / 'out' / '..' / 'out' / 'a.png', 'test')
    shutil.copy(own, tmp_path / 'a.png')
    assert not is_own(tmp_path / 'a.png', 'test')


@pytest.mark.parametrize('kind', ['file', 'folder', 'link', 'dangling link', 'link to own'])
def test_whatever_else_is_there_stays(kind, own, tmp_path):
    path = tmp_path / 'x.png'
    target = dict(link=tmp_path / 'label.png').get(kind, own if 'own' in kind else tmp_path / 'no')
    (tmp_path / 'label.png').write_bytes(b'label')
    if kind == 'file':
        path.write_bytes(b'')
    elif kind == 'folder':
        path.mkdir()
    else:
        path.symlink_to(target)
    with pytest.raises(OutputError, match=r'--out: .*x\.png'):
        check_outputs('--out', 'test', [own, path])
    assert (tmp_path / 'label.png').read_bytes() == b'label'


def test_what_is_read_is_not_written_over_under_any_name(own, tmp_path):
    hard, soft = tmp_path / 'hard.png', tmp_path / 'soft.png'
    os.link(own, hard)
    soft.symlink_to(own)
    for name in (own, hard, soft):
        with pytest.raises(OutputError, match=r'a\.png is read .* would be written over'):
            check_outputs('--out', 'test', [own], [tmp_path / 'absent', name])


def test_two_pictures_of_one_name_are_refused(tmp_path):
    with pytest.raises(OutputError, match=r'two pictures of one name'):
        check_outputs('--out', 'test', [tmp_path / 'a.png', tmp_path / 'a.png'])


def test_a_folder_of_the_data_set_takes_nothing(tmp_path):
    (tmp_path / 'data' / 'labels').mkdir(parents=True)
    (tmp_path / 'link').symlink_to(tmp_path / 'data')
    sources = [tmp_path / 'data/labels', tmp_path / 'nowhere']
    for inside in ('data/labels', 'data/labels/new/deep', 'link/labels'):
        with pytest.raises(OutputError, match='where the data set looks'):
            refuse_inside('--out', tmp_path / inside, sources)
    refuse_inside('--out', tmp_path / 'data', sources)
    refuse_inside('--out', tmp_path / 'data/labels2', sources)


def test_files_of_libraries_are_noted_even_where_the_tool_ends_early(tmp_path):
    path = tmp_path / 'x.json'

    def work() -> None:
        with own_outputs('--out', 'tool', [path, None], [None]):
            path.write_text('1')
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        work()
    assert is_own(path, 'tool')


def test_a_home_that_cannot_be_written_to_ends_nothing(tmp_path, monkeypatch):
    (tmp_path / 'state').write_text('')
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    with output_file(tmp_path / 'a', 'test') as file:
        file.write(b'x')
    note(tmp_path / 'a', 'test')
    assert (tmp_path / 'a').read_bytes() == b'x'
    assert not is_own(tmp_path / 'a', 'test')


def test_a_list_that_was_removed_is_read_anew(own, tmp_path, monkeypatch):
    assert is_own(own, 'test')
    shutil.rmtree(os.environ['XDG_STATE_HOME'] + '/segkit')
    assert not is_own(own, 'test')
    note(own, 'test')
    assert is_own(own, 'test')


def test_what_a_run_leaves_tells_its_folder(tmp_path):
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / 'nowhere')
    (tmp_path / '20260101_120000').mkdir()
    assert is_run(tmp_path)
