"""Objects in CVAT's XML ("CVAT for images") and in YOLO's text files of polygons.

Both as (picture, (class name, shape) in the order of drawing): a shape is rings of (N, 2) points x,
y, or a Patch.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from masks import box, ellipse
from PIL import Image

from segkit.errors import UserError

_LARGEST = 1 << 30  # pixels of a mask
Found = Iterator[tuple[Path, list]]
Find = Callable[[Path, str], Path | None]


class Patch(NamedTuple):
    """A mask (h, w) bool whose first pixel lies at (left, top) of the picture."""

    left: int
    top: int
    mask: np.ndarray


def refuse_doctype(file: Path) -> None:
    """Raise UserError for XML that defines entities, which grow, and read other files."""

    def doctype(*of_it: object) -> None:
        raise UserError(f'{file}: defines entities, which no export of CVAT does; it is not read.')

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    with open(file, 'rb') as content:
        parser.ParseFile(content)


def read_cvat(file: Path, find: Find, left: Counter) -> Found:
    """The objects of an XML file, lower z_order first.

    Raises:
        UserError: it is no XML, or defines entities.
    """
    try:
        refuse_doctype(file)
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f'{file}: is no whole XML ({error}).') from None
    images, tracks = list(root.iter('image')), sum(1 for _ in root.iter('track'))
    if tracks:
        left['tracks of videos (export as "CVAT for images")'] += tracks
    for image in images:
        picture = find(file, str(image.get('name')))
        if picture is None:
            left['pictures that are not there'] += 1
            continue
        drawn = sorted(image, key=lambda shape: int(shape.get('z_order') or 0))
        shapes = [(str(one.get('label')), _of_cvat(one, file)) for one in drawn]
        for one, (_, shape) in zip(drawn, shapes):
            if shape is None:
                left[f'objects of the kind {one.tag}'] += 1
        yield picture, [(label, shape) for label, shape in shapes if shape is not None]


def _of_cvat(one: ElementTree.Element, file: Path) -> list | Patch | None:
    """The shape of one object; None for a kind that has no area."""
    try:
        if one.tag == 'polygon':
            pairs = [point.split(',') for point in str(one.get('points')).split(';')]
            points = np.array(pairs, float)
            return [points] if len(points) > 2 else None
        if one.tag == 'box':
            return [_turned(box(*_numbers(one, 'xtl', 'ytl', 'xbr', 'ybr')), one)]
        if one.tag == 'ellipse':
            return [_turned(ellipse(*_numbers(one, 'cx', 'cy', 'rx', 'ry')), one)]
        if one.tag == 'mask':
            return _mask(one)
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{file}: a {one.tag} of the class {one.get("label")} cannot be read ({error}).'
        ) from None
    return None


def _numbers(one: ElementTree.Element, *names: str) -> list[float]:
    return [float(str(one.get(name))) for name in names]


def _turned(points: np.ndarray, one: ElementTree.Element) -> np.ndarray:
    """Clockwise, as CVAT counts, around the middle."""
    angle = math.radians(float(one.get('rotation') or 0))
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    middle = (points.min(0) + points.max(0)) / 2
    return (points - middle) @ turn + middle


def _mask(one: ElementTree.Element) -> Patch:
    """Lengths of runs along the rows, of 0 first, within a frame of the picture."""
    left, top, width, height = map(int, _numbers(one, 'left', 'top', 'width', 'height'))
    runs = [int(run) for run in str(one.get('rle')).split(',')]
    if sum(runs) != width * height or min(runs) < 0 or min(left, top) < 0:
        raise ValueError(f'{sum(runs)} pixels in a frame of {width} x {height}')
    if width * height > _LARGEST:
        raise ValueError(f'a frame of {width} x {height}')
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return Patch(left, top, flat.reshape(height, width))


def read_yolo(file: Path, find: Find, names: dict[int, str], left: Counter) -> Found:
    """The polygons of one text file, in its order; lines of four numbers are boxes.

    Args:
        names: class index -> name.
    """
    stems = [f'{file.stem}{ending}' for ending in ('.jpg', '.jpeg', '.png', '.bmp', '.webp')]
    picture = next((found for name in stems if (found := find(file, name))), None)
    if picture is None:
        left['pictures that are not there'] += 1
        return
    with Image.open(picture) as opened:
        size = np.array(opened.size)
    shapes = []
    for line in file.read_text().splitlines():
        words = line.split()
        if len(words) == 5:
            left['objects without an outline (boxes)'] += 1
        elif words:
            points = np.array(words[1:], float).reshape(-1, 2) * size
            shapes.append((names.get(int(words[0]), f'class {words[0]}'), [points]))
    yield picture, shapes


def yolo_names(root: Path) -> dict[int, str]:
    """Names of classes from data.yaml or classes.txt; {} where there is neither."""
    import yaml

    for file in sorted([*root.glob('*.yaml'), *root.glob('*.yml')]):
        content = yaml.safe_load(file.read_text())
        names = content.get('names') if isinstance(content, dict) else None
        if isinstance(names, list):
            names = dict(enumerate(names))
        if isinstance(names, dict):
            return {int(index): str(name) for index, name in names.items()}
    listed = root / 'classes.txt'
    lines = listed.read_text().splitlines() if listed.is_file() else []
    return dict(enumerate(line.strip() for line in lines if line.strip()))
