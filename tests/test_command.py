"""``segkit``: what it lists, completes and says to a typo."""

import re
import subprocess
import sys

from helpers import found
from helpers.doc_pages import ROOT


def segkit(*arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, '-m', 'segkit', *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, **options)


def test_every_tool_has_a_line():
    done = segkit()
    assert done.returncode == 0
    lines = dict(re.findall(r'^  (\w+) +(\S.*)$', done.stdout, re.M))
    names = {name.rpartition('/')[2] for name in found.tools()}
    assert names <= set(lines)
    assert all(len(lines[name]) > 12 for name in names)
    assert segkit('--help').stdout == done.stdout


def test_its_version_is_the_packages():
    done = segkit('--version')
    assert re.fullmatch(r'segkit \d+\.\d+\.\d+\S*\n', done.stdout)


def test_a_typo_gets_the_nearest_name_and_a_status():
    done = segkit('chek_dataset')
    assert done.returncode == 1
    assert "There is no tool 'chek_dataset'. Did you mean check_dataset?" in done.stderr


def test_a_converter_is_a_command_and_finds_what_lies_beside_it(tmp_path):
    done = segkit('polygons', str(tmp_path / 'nowhere'))
    assert done.returncode == 1
    assert 'there is no such folder' in done.stderr


def test_nothing_heavy_is_imported_to_list():
    code = (
        "import sys; sys.argv = ['segkit']; from segkit.__main__ import main; main(); "
        "assert not {'torch', 'cv2', 'mmengine'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_bash_completes_tools_and_options():
    script = segkit('--completion').stdout
    ask = """
    segkit() { python -m segkit "$@"; }
    COMP_WORDS=(segkit pre); COMP_CWORD=1; _segkit; echo "${COMPREPLY[@]}"
    COMP_WORDS=(segkit predict --unk); COMP_CWORD=2; COMPREPLY=(); _segkit; echo "${COMPREPLY[@]}"
    """.replace('python', sys.executable)
    done = subprocess.run(
        ['bash', '-c', script + ask], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ['predict', '--unknown-below'], done.stderr
