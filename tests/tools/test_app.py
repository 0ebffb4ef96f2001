"""``segkit app``: as a user types it, until Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from helpers.run_tool import TOOLS
from helpers.tiny_config import write_tiny_config

from segkit.apis import init_model

pytest.importorskip('gradio', reason='needs gradio (requirements/app.txt)')


def test_it_serves_until_ctrl_c_and_leaves_nothing(tmp_path):
    import torch

    config = write_tiny_config(tmp_path)
    weights = tmp_path / 'tiny.pth'
    torch.save(init_model(config).state_dict(), weights)
    command = [sys.executable, TOOLS / 'app.py', config, weights, '--title', 'Tiny']
    own = tmp_path / 'tmp'
    own.mkdir()
    env = {**os.environ, 'TMPDIR': str(own), 'GRADIO_SHARE': 'True'}
    child = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background
    )  # fmt: skip
    try:
        line = next(line for line in child.stdout if 'Tiny' in line)
        address = re.search(r'http://127\.0\.0\.1:\d+', line)[0]
        assert b'Tiny' in urllib.request.urlopen(address, timeout=20).read()
        assert list(own.glob('segkit_page_*'))
        child.send_signal(signal.SIGINT)
        rest, errors = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 130
    assert 'Traceback' not in errors
    assert not re.search(r'https?://', rest)
    # gradio itself leaves an empty folder.
    assert [path for path in own.rglob('*') if path.is_file() or 'segkit' in path.name] == []
