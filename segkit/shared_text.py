"""What is made to be shared tells nothing private: no absolute path, no name of host or user."""

import getpass
import platform
import re
from collections.abc import Mapping
from functools import cache
from pathlib import PureWindowsPath
from typing import Any

from segkit.console import told

# The whole of a quoted text that is a path; else a path up to the next space or bracket.
_START = r'(?:~[\w.-]*/|/(?![/\s])|file://|[A-Za-z]:\\)'
_QUOTED = re.compile(rf"""(['"])({_START}[^'"\n]*)\1""")
_BARE = re.compile(rf"""(?<![\w:/.~<>*-]){_START}[^\s'"<>|;,()\[\]{{}}]*""")


# What lets its bearer in: a name and password before the host, and what follows these words.
_PASSWORD = re.compile(r"""(\w://)[^/\s@'"]*@""")
_TOKEN = re.compile(
    r"""([?&][\w.-]*(?:token|signature|sig|secret|password|credential|auth|key|key-?id)=)[^&\s'"#]+""",
    re.I,
)


def without_secrets(text: str) -> str:
    """Text with '...' for passwords and tokens in the addresses in it."""
    return _TOKEN.sub(r'\1...', _PASSWORD.sub(r'\1...@', text))


def cell(name: object) -> str:
    """A name as a cell of a table in CSV: text, where a spreadsheet would take it for a formula."""
    text = told(str(name))
    return f"'{text}" if text[:1] in ('=', '+', '-', '@', '\t', '\r') else text


def shareable(value: object) -> Any:
    """A copy of plain values: '.../NAME' for absolute paths, HOST and USER for these names."""
    if isinstance(value, Mapping):
        return {key: shareable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(shareable(item) for item in value)
    return shareable_text(value) if isinstance(value, str) else value


def shareable_text(text: str) -> str:
    """The same for text: one value, or a whole config with paths in quotes."""
    if re.match(_START, text) and '\n' not in text:
        text = _last(text)
    text = _QUOTED.sub(lambda found: f'{found[1]}{_last(found[2])}{found[1]}', text)
    text = _BARE.sub(lambda found: _last(found[0]), text)
    text = without_secrets(text)
    for pattern, word in _names():
        text = pattern.sub(word, text)
    return text


def _last(path: str) -> str:
    name = PureWindowsPath(path).name  # which knows both kinds of slashes
    return f'.../{name}' if name else '...'


@cache
def _names() -> list[tuple[re.Pattern, str]]:
    host = platform.node()
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # no name: a number in a container, Windows
        user = ''
    known = [(host, 'HOST'), (host.partition('.')[0], 'HOST'), (user, 'USER')]
    common = ('root', 'user', 'localhost')
    names = [(name, word) for name, word in known if len(name) > 2 and name not in common]
    return [(re.compile(rf'\b{re.escape(name)}\b'), word) for name, word in names]
