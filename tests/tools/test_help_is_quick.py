"""Every tool answers --help before it imports anything heavy."""

import subprocess
import sys

import pytest
from helpers.run_tool import TOOLS

SCRIPTS = sorted(path for path in TOOLS.glob('*.py'))


def test_there_are_tools():
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.stem)
def test_help_without_torch(script):
    code = (
        'import runpy, sys\n'
        f'sys.argv = [{str(script)!r}, "--help"]\n'
        'try:\n'
        f'    runpy.run_path({str(script)!r}, run_name="__main__")\n'
        'except SystemExit as leaving:\n'
        '    assert not leaving.code, leaving.code\n'
        'heavy = {"torch", "cv2", "mmengine", "matplotlib"} & set(sys.modules)\n'
        'assert not heavy, heavy\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'usage:' in done.stdout
