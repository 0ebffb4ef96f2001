"""Which lines of the GPU command's code did not run in a rehearsal.

python tools/benchmarks/gpu_lines.py SCRIPT [arguments]    runs it and notes its lines, in
                                                           $SEGKIT_GPU_LINES/PID.json
python tools/benchmarks/gpu_lines.py                       prints the lines that nobody noted
"""

import atexit
import dis
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

MOST = 60  # lines that only a GPU can run
HERE = Path(__file__).resolve().parent
FILES = {str(path): path for path in sorted(HERE.glob('gpu_*.py')) if path.name != 'gpu_lines.py'}


def note_lines() -> None:
    """From now on, until the process ends."""
    ran: dict[str, set[int]] = {name: set() for name in FILES}

    def trace(frame: FrameType, event: str, _: object) -> Callable | None:
        lines = ran.get(frame.f_code.co_filename)
        if lines is None:
            return None
        lines.add(frame.f_lineno)
        return trace

    def write() -> None:
        sys.settrace(None)
        found = {name: sorted(lines) for name, lines in ran.items()}
        Path(os.environ['SEGKIT_GPU_LINES'], f'{os.getpid()}.json').write_text(json.dumps(found))

    atexit.register(write)
    sys.settrace(trace)


def lines_of(code: CodeType) -> set[int]:
    """Numbers of the lines that hold instructions."""
    inner = [part for part in code.co_consts if isinstance(part, CodeType)]
    own = {line for _, line in dis.findlinestarts(code) if line}
    return own.union(*map(lines_of, inner))


def not_run(folder: Path) -> list[str]:
    """'gpu_x.py:12: text' for every line that no process noted."""
    ran = {name: set() for name in FILES}
    for path in folder.glob('*.json'):
        for name, lines in json.loads(path.read_text()).items():
            ran[name] |= set(lines)
    missed = []
    for name, path in FILES.items():
        text = path.read_text()
        shown = text.splitlines()
        for line in sorted(lines_of(compile(text, name, 'exec')) - ran[name]):
            missed.append(f'{path.name}:{line}: {shown[line - 1].strip()}')
    return missed


def main() -> None:
    if len(sys.argv) > 1:
        note_lines()
        sys.argv = [str(Path(sys.argv[1]).resolve()), *sys.argv[2:]]
        runpy.run_path(sys.argv[0], run_name='__main__')
        return
    missed = not_run(Path(os.environ['SEGKIT_GPU_LINES']))
    print(*missed, f'{len(missed)} lines did not run; at most {MOST} may need a GPU.', sep='\n')
    raise SystemExit(len(missed) > MOST)


if __name__ == '__main__':
    main()
