"""A file is what it was or what it is to be, never part of it."""

import os
import subprocess

import pytest

from segkit.whole_file import remove_leftovers, whole_file, write_text


def test_text_is_written_into_a_folder_that_is_made_for_it(tmp_path):
    write_text(tmp_path / 'new' / 'names.txt', 'Zürich\n')
    assert (tmp_path / 'new' / 'names.txt').read_bytes() == 'Zürich\n'.encode()


@pytest.mark.parametrize('durable', [False, True])
def test_what_is_there_stays_until_the_new_is_complete(tmp_path, durable):
    path = tmp_path / 'scores.json'
    write_text(path, 'old')
    with whole_file(path, durable) as file:
        file.write(b'new')
        file.flush()
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / 'scores.json'
    write_text(path, 'old')

    def interrupted():
        with whole_file(path) as file:
            file.write(b'half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_do_not_write_into_one_another(tmp_path, monkeypatch):
    path = tmp_path / 'scores.json'
    with whole_file(path) as ours:
        ours.write(b'our')
        monkeypatch.setattr(os, 'getpid', lambda: 1)
        write_text(path, 'theirs, longer')
        ours.write(b's')
    assert path.read_text() == 'ours'


@pytest.mark.parametrize('durable', [False, True])
def test_only_what_must_outlive_a_power_cut_waits_for_the_disk(tmp_path, monkeypatch, durable):
    waited = []
    monkeypatch.setattr(os, 'fsync', waited.append)
    write_text(tmp_path / 'last_checkpoint', 'iter_1.pth', durable)
    assert len(waited) == (2 if durable else 0)  # the file, and the folder with its name


def test_leftovers_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path):
    dead = subprocess.Popen(['true'])
    dead.wait()
    names = [f'.iter_3.pth.{dead.pid}.tmp', f'.run.json.{dead.pid}.tmp']
    kept = [f'.scores.csv.{os.getpid()}.tmp', 'iter_2.pth', '.notes.tmp', f'run.{dead.pid}.tmp']
    for name in names + kept:
        (tmp_path / name).write_bytes(b'half')
    assert remove_leftovers(tmp_path) == names
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_link_that_waits_in_the_place_of_the_draft_is_not_followed(tmp_path):
    (tmp_path / 'victim').write_text('mine')
    (tmp_path / f'.a.json.{os.getpid()}.tmp').symlink_to(tmp_path / 'victim')
    write_text(tmp_path / 'a.json', 'new')
    assert (tmp_path / 'victim').read_text() == 'mine'
    assert (tmp_path / 'a.json').read_text() == 'new'


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path):
    path = tmp_path / ('ö' * 125 + '.json')
    write_text(path, 'a \udcff')
    assert path.read_text() == 'a \\udcff'
