"""Run a script of tools/ in this process, which saves its imports, or in a process of its own."""

import contextlib
import io
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


def run_tool(tool: str, *args: object, own_process: bool = False) -> tuple[int, str]:
    """(exit status, stdout and stderr together) of ``tools/<tool>.py``."""
    script, arguments = str(TOOLS / f'{tool}.py'), [str(arg) for arg in args]
    if own_process:
        command = [sys.executable, script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd='/')
        return done.returncode, done.stdout + done.stderr
    output, status = io.StringIO(), 0
    with (
        mock.patch.object(sys, 'argv', [script, *arguments]),
        mock.patch.object(sys, 'path', [str(Path(script).parent), *sys.path]),  # as Python does
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        try:
            runpy.run_path(script, run_name='__main__')
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else bool(leaving.code)
            if isinstance(leaving.code, str):
                output.write(leaving.code)
    return int(status or 0), output.getvalue()
