"""How the user calls the commands, for the messages that name one.

``segkit NAME`` from any install, ``python tools/NAME.py`` from whoever called such a script, with
the path as it was typed. Nothing but this module puts either into words.
"""

import re
import sys
from pathlib import Path

CONVERTERS = 'dataset_converters'
_TYPED = re.compile(r'\b(?:python )?tools/(?:dataset_converters/)?(\w+)\.py\b')
_start: list[str] = []  # what was typed before NAME; empty where a script was called by its path


def called_by_name() -> None:
    """``segkit NAME`` was typed: its script runs, and nobody has to know where that lies."""
    as_module = Path(sys.argv[0]).name == '__main__.py'
    _start[:] = ['python', '-m', 'segkit'] if as_module else ['segkit']


def command(tool: str, arguments: str = '') -> str:
    """What to type: ``segkit TOOL ARGUMENTS``, or the script's path where one was called.

    Args:
        tool: the name of a script of tools/, or of its dataset_converters/, without ``.py``.
        arguments: what follows it, as it is to be typed.
    """
    home = _home()
    words = [*(_start or ['segkit']), tool]
    if home is not None:
        path = home / f'{tool}.py'
        words = ['python', str(path if path.is_file() else home / CONVERTERS / f'{tool}.py')]
    return ' '.join([*words, arguments]) if arguments else ' '.join(words)


def worded(doc: str) -> str:
    """A script's docstring, with the commands in it as the user calls them."""
    return _TYPED.sub(lambda match: command(match[1]), doc)


def program() -> str | None:
    """The name in ``usage:``; None for that of the script."""
    return None if _home() is not None else command(Path(sys.argv[0]).stem)


def _home() -> Path | None:
    """The folder tools/ as it was typed; None where no script was called by its path."""
    script = Path(sys.argv[0] or 'python')
    folder = script.parent.parent if script.parent.name == CONVERTERS else script.parent
    typed = folder.name == 'tools' and script.suffix == '.py' and '.shipped' not in folder.parts
    return folder if typed and not _start else None
