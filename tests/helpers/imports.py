"""What a fresh interpreter has imported after running some code."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def modules_after(code: str) -> set[str]:
    """Names in ``sys.modules`` once ``code`` has run; fails with its traceback if it does."""
    listing = f'{code}\nimport sys; print("\\n" + " ".join(sys.modules))'
    command = [sys.executable, '-c', listing]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())
