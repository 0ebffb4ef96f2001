"""What is printed and logged: names of files and classes as text, whatever they hold.

A terminal takes some characters for orders: to change its title, to write elsewhere, to turn the
direction of a line. They are shown as escapes, and so is a name whose bytes are no text, which
cannot be written at all.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO, cast

# Controls but for tab, line feed and carriage return, directions of writing, bytes that are no text
_ORDERS = '[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]'
_LEVEL = '(?:\x1b\\[\\d+m){1,3}(?:ERROR|WARNING|INFO|DEBUG)\x1b\\[0m'  # as mmengine colours it
_TOLD = re.compile(f'({_LEVEL})|{_ORDERS}')


def told(text: str) -> str:
    """``text`` with escapes for what a terminal would take for an order."""
    return _TOLD.sub(lambda found: found[1] or repr(found[0])[1:-1], text)


class _Told:
    """A stream that writes ``told`` text; all else about it is that of the stream itself."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        shown = told(text)
        code = getattr(self._stream, 'encoding', None) or 'utf-8'
        if not shown.isascii():  # a terminal of another code
            shown = shown.encode(code, 'backslashreplace').decode(code)
        self._stream.write(shown)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def told_streams() -> Iterator[None]:
    """Within it, what goes to stdout and stderr is ``told``."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, stream and _Told(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def told_records(logger: logging.Logger) -> None:
    """Have a logger write ``told`` messages, into its files too."""
    if _tell not in logger.filters:
        logger.addFilter(_tell)


def _tell(record: logging.LogRecord) -> bool:
    record.msg, record.args = told(record.getMessage()), None
    return True
