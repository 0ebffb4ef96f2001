"""The one reader of JSON. Other people's files: what is wrong with them is one kind of error."""

import json
import os
from pathlib import Path
from typing import Any

from segkit.errors import UserError

_LARGEST = 1 << 30  # bytes


class JsonError(UserError):
    """A file or line is no JSON, or no JSON that fits into memory; the message names the file."""


def read_json(path: str | os.PathLike, largest: int = _LARGEST) -> Any:
    """What a JSON file holds.

    Raises:
        JsonError: it is too large, no text in UTF-8 or no JSON. OSError: it cannot be opened.
    """
    path = Path(path)
    if (size := path.stat().st_size) > largest:
        raise JsonError(f'{path}: {size} bytes are too many for such a file')
    try:
        with open(path, encoding='utf-8-sig') as file:
            text = file.read(largest + 1)  # a device says that it is empty
        if len(text) > largest:
            raise JsonError(f'{path}: is longer than {largest} bytes, too long for such a file')
    except UnicodeDecodeError:
        raise JsonError(f'{path}: is no text in UTF-8; save it as that') from None
    return parse_json(text, path)


def parse_json(text: str, source: object) -> object:
    """What JSON text holds; ``source`` names it in the error.

    Raises:
        JsonError: it is no JSON, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise JsonError(f'{source}: its brackets are nested too deeply') from None
    except (ValueError, TypeError) as error:
        said = ' '.join(str(error).split())[:200]
        raise JsonError(f'{source}: cannot be read as json: {said}') from None
