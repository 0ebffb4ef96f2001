"""Starting a script."""

import gc
import subprocess
import sys

import pytest
from helpers.old_configs import v0_config
from mmengine.config import Config
from torch.utils.data import DataLoader, Dataset

from segkit.engine.command_line import adopt, run_script, starting_up
from segkit.engine.errors import explained
from segkit.errors import ConfigError, DataError


def test_the_collector_rests_while_starting_and_works_afterwards():
    with starting_up():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_what_the_start_made_is_never_looked_at_again():
    before = gc.get_freeze_count()
    try:
        with starting_up():
            made = [object() for _ in range(3)]
        frozen = gc.get_freeze_count()
    finally:
        gc.unfreeze()

    assert frozen > before
    assert len(made) == 3


def test_the_collector_works_after_a_start_that_failed():
    with pytest.raises(ValueError, match='no such config'), starting_up():
        raise ValueError('no such config')

    assert gc.isenabled()


def test_a_config_of_the_older_toolbox_runs_in_our_scope(capsys):
    cfg = Config(dict(default_scope='mmseg', train_dataloader=dict(), model=dict()))

    adopt(cfg)

    assert cfg.default_scope == 'segkit'
    assert "looked up in 'segkit'" in capsys.readouterr().out


def test_one_of_its_first_generation_is_answered_with_the_converter(tmp_path):
    (tmp_path / 'old.py').write_text(v0_config('pspnet_r50-d8_512x1024_40k_cityscapes'))
    with pytest.raises(ConfigError, match=r'old\.py: data: .*`segkit convert_config'):
        adopt(Config.fromfile(tmp_path / 'old.py'))


class Broken(Dataset):
    """One sample, which cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise DataError('a.png', 'it is broken', 'Mend it.')


@pytest.mark.parametrize('workers', [0, 1])
def test_a_broken_file_is_the_same_sentence_from_every_process(capsys, workers):
    def main():
        with explained(lambda: 'testing'):
            next(iter(DataLoader(Broken(), num_workers=workers)))

    with pytest.raises(SystemExit):
        run_script(main)
    assert capsys.readouterr().err == 'DataError: a.png: it is broken. Mend it.\n'


def test_ctrl_c_is_one_word_and_the_status_of_the_signal(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as leaving:
        run_script(main)

    assert leaving.value.code == 130
    assert capsys.readouterr().err == 'interrupted\n'


@pytest.mark.parametrize(('given', 'status'), [(None, 0), (0, 0), (3, 3)])
def test_the_status_a_script_gives_is_the_one_it_ends_with(given, status):
    try:
        run_script(lambda: given)
        left = 0
    except SystemExit as leaving:
        left = leaving.code

    assert left == status


def test_a_reader_that_has_had_enough_is_no_error():
    code = (
        'from segkit.engine.command_line import run_script\n'
        'run_script(lambda: print("x\\n" * 99999))'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (141, '')


def test_a_broken_pipe_that_is_not_the_output_stays_an_error():
    def main():
        raise BrokenPipeError('between two processes')

    with pytest.raises(BrokenPipeError, match='between two'):
        run_script(main)
