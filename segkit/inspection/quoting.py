"""Names of files and classes put into what others read: Python source, comments, shells, terminals.

A folder's name may hold quotes, backslashes, newlines, ``{{ ... }}`` (which mmengine fills in
before it parses a config) and bytes that are no text. Everything generated passes through here.
"""

import os
import re
import shlex

from segkit.engine.config_files import literal

__all__ = ['comment', 'literal', 'plain', 'shell_line', 'shell_word']


def plain(text: str) -> str:
    """One line of printable characters, the others written as Python escapes."""
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def comment(text: str) -> str:
    """What may follow ``#`` in a config."""
    return re.sub(r'\{(?=\{)', '{ ', plain(text))


def shell_word(word: str | os.PathLike) -> str:
    """A word of a command that can be typed: as it is, in quotes, or in bash's ``$'...'``."""
    text = os.fspath(word)
    if text.isprintable():
        return shlex.quote(text)
    shown = (chr(byte) if 32 <= byte < 127 else f'\\x{byte:02x}' for byte in os.fsencode(text))
    return "$'" + ''.join('\\' + c if c in "\\'" and len(c) == 1 else c for c in shown) + "'"


def shell_line(*words: str | os.PathLike) -> str:
    """The words as one line for a shell."""
    return ' '.join(map(shell_word, words))
