"""Exports of labelling tools that are no label images, and a sentence for each."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from segkit.command import command
from segkit.errors import UserError
from segkit.json_file import parse_json, read_json

from .files import visible_files
from .quoting import shell_word

_READ_AT_MOST = 200 * 2**20  # bytes of one JSON file
_TRIED = 5  # files of one ending
_LINE = 2**22  # characters, of which more are no first line
_MASKS = (
    'segkit trains on label images: one PNG a picture, whose values are class indices or colours'
)


def refuse_exports(root: Path) -> None:
    """Raise the sentence for an export of polygons or boxes below ``root``, if there is one."""
    for kind, file, cure in _known(root):
        raise UserError(f'{file}: this is {kind}, not a label image. {_MASKS}. {cure}')


def _known(root: Path) -> Iterator[tuple[str, Path, str]]:
    by_ending: dict[str, list[Path]] = {}
    for name in visible_files(root):
        by_ending.setdefault(os.path.splitext(name)[1].lower(), []).append(root / name)
    for path in _spread(by_ending.get('.json', [])):
        kind = json_kind(path)
        if kind:
            yield kind, path, _cure(root)
    for path in [p for e in ('.json', '.ndjson', '.csv') for p in _spread(by_ending.get(e, []))]:
        kind = unread_kind(path)
        if kind:
            yield kind, path, 'Export once more as masks, or draw them yourself.'
    for path in by_ending.get('.xml', [])[:_TRIED]:
        kind = xml_kind(path)
        if kind:
            again = 'Export once more as masks.'
            yield kind, path, _cure(root) if kind == 'CVAT XML' else again
    for path in by_ending.get('.txt', [])[:_TRIED]:
        if path.parent.name == 'labels' and is_yolo(path):
            cure = f'{_cure(root)}; boxes have no outline: export those once more as masks.'
            yield 'a YOLO file of polygons or boxes', path, cure


def _spread(paths: list[Path]) -> list[Path]:
    return paths[:_TRIED] + paths[_TRIED:][-_TRIED:]


def json_kind(path: Path) -> str:
    """'COCO JSON', 'labelme JSON' or ''."""
    if path.stat().st_size > _READ_AT_MOST:
        return 'COCO JSON' if 'coco' in path.name.lower() else ''
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return ''
    if not isinstance(content, dict):
        return ''
    if {'images', 'annotations', 'categories'} <= set(content):
        return 'COCO JSON'
    return 'labelme JSON' if {'shapes', 'imagePath'} <= set(content) else ''


def unread_kind(path: Path) -> str:
    """Of an export that no tool of ours draws: whose it is, or ''."""
    if path.stat().st_size > _READ_AT_MOST:
        return ''
    with open(path, encoding='utf-8', errors='replace') as file:
        first = file.readline(_LINE)
    if path.suffix.lower() == '.csv':
        heading = re.sub('[^a-z]', '', first.lower())
        return 'a CSV file of run lengths' if re.search('rle|encodedpixels', heading) else ''
    try:
        ndjson = path.suffix.lower() == '.ndjson'
        content = parse_json(first, path) if ndjson else read_json(path)
    except (OSError, ValueError):
        return ''
    one = content[0] if isinstance(content, list) and content else content
    keys = set(one) if isinstance(one, dict) else set()
    if keys and {'objects', 'size'} <= keys:
        return 'Supervisely JSON'
    if keys & {'data_row', 'Labeled Data'}:
        return 'a Labelbox export'
    if isinstance(content, list) and {'data', 'annotations'} <= keys:
        return 'Label Studio JSON'
    inner = next(iter(one.values())) if isinstance(one, dict) and one else None
    via = isinstance(inner, dict) and {'filename', 'regions'} <= set(inner)
    return 'VIA JSON' if via or '_via_img_metadata' in keys else ''


def _cure(root: Path) -> str:
    return f'Draw them first: {command("polygons", shell_word(root))}'


def xml_kind(path: Path) -> str:
    try:
        tag = next(iter(ElementTree.iterparse(path, events=('start',))))[1].tag
    except (OSError, StopIteration, ElementTree.ParseError, LookupError, ValueError):
        return ''
    return {'annotations': 'CVAT XML', 'annotation': 'a VOC file of boxes'}.get(tag, '')


def is_yolo(path: Path) -> bool:
    """Lines of a class and an even number of coordinates between 0 and 1."""
    try:
        rows = [[float(w) for w in line.split()] for line in path.read_text().splitlines() if line]
    except (OSError, ValueError):
        return False
    return bool(rows) and all(
        len(row) >= 5 and len(row) % 2 and row[0].is_integer() and 0 <= min(row[1:]) <= 1.001
        for row in rows
    )
