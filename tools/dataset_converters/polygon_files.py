"""Reading files of polygons: what is drawn on each picture, in which order, with which value."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from cvat_and_yolo import Find, Patch, read_cvat, read_yolo, yolo_names
from masks import box, decode_mask, ellipse
from PIL import Image

from segkit.errors import UserError
from segkit.inspection.exports import is_yolo, json_kind, xml_kind
from segkit.inspection.files import is_picture, visible_files
from segkit.json_file import read_json

_SHIFT = 4  # bits behind the point of OpenCV's coordinates


@dataclass
class Drawing:
    """A picture and what is drawn on it: (value, rings of (N, 2) points x, y, COCO's RLE or a
    Patch)."""

    picture: Path
    objects: list[tuple[int, list | dict | Patch]] = field(default_factory=list)


def collect(root: Path) -> tuple[list[str], list[Drawing], Counter[str]]:
    """(class names, a drawing a picture, what was left out) of all files of polygons below a root.

    Raises:
        FileNotFoundError, UserError: there is no such folder, or no file of polygons in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: there is no such folder.')
    files = list(visible_files(root))
    kinds = {name: _kind(root / name) for name in files}
    pictures: dict[str, list[Path]] = {}
    for name in files:
        if is_picture(name):
            pictures.setdefault(Path(name).name, []).append(root / name)
    left: Counter[str] = Counter()
    found = []
    find = partial(_find, pictures=pictures, root=root)
    for name in [name for name, kind in kinds.items() if kind]:
        try:
            found += list(_read(root / name, kinds[name], root, find, left))
        except UserError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise UserError(
                f'{root / name}: cannot be read as {kinds[name]} ({type(error).__name__}: {error}).'
            ) from error
    if not found:
        raise UserError(
            f'{root}: no COCO JSON, labelme JSON, CVAT XML or YOLO polygons with pictures of its '
            'own below it.'
        )
    names = sorted({label for _, objects in found for label, _ in objects})
    value = {name: i for i, name in enumerate(names, 1)}
    if len(names) > 254:
        raise UserError(f'{root}: {len(names)} classes are more than a label image of bytes holds.')
    drawings: dict[Path, Drawing] = {}
    for picture, objects in found:
        drawing = drawings.setdefault(picture, Drawing(picture))
        drawing.objects += [(value[label], shape) for label, shape in objects]
    return names, list(drawings.values()), left


def _kind(file: Path) -> str:
    """What a file is of those that are read; '' for any other."""
    ending = file.suffix.lower()
    if ending == '.json':
        return json_kind(file)
    if ending == '.xml' and xml_kind(file) == 'CVAT XML':
        return 'CVAT XML'
    return 'YOLO' if ending == '.txt' and file.parent.name == 'labels' and is_yolo(file) else ''


def _read(
    file: Path, kind: str, root: Path, find: Find, left: Counter
) -> Iterator[tuple[Path, list]]:
    if kind == 'CVAT XML':
        return read_cvat(file, find, left)
    if kind == 'YOLO':
        return read_yolo(file, find, yolo_names(root), left)
    return (_coco if kind == 'COCO JSON' else _labelme)(file, read_json(file), find, left)


def _find(file: Path, name: str, pictures: Mapping[str, list[Path]], root: Path) -> Path | None:
    """The picture that a file means: beside it, in ``images`` near it, or the only one so named.

    It lies below ``root``, since its mask is written beside it.
    """
    name = name.replace('\\', '/')
    near = [file.parent / name, file.parent / Path(name).name]
    near += [parent / 'images' / name for parent in file.parents[:2]]
    below = (path for path in near if is_picture(path.name) and path.is_file())
    place = os.path.abspath(root)  # links in the folder are the user's own
    here = next((path for path in below if Path(os.path.abspath(path)).is_relative_to(place)), None)
    same = pictures.get(Path(name).name, [])
    return here or (same[0] if len(same) == 1 else None)


def _coco(file: Path, content: dict, find: Find, left: Counter) -> Iterator[tuple[Path, list]]:
    """(picture, (class name, shape) of its objects, the largest first)."""
    names = {category['id']: str(category['name']) for category in content['categories']}
    by_image: dict = {}
    for annotation in content['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    for image in content['images']:
        picture = find(file, image['file_name'])
        if picture is None:
            left['pictures that are not there'] += 1
            continue
        shapes = []
        for one in sorted(by_image.get(image['id'], []), key=lambda a: -a.get('area', 0)):
            rings = one.get('segmentation')
            if not rings:
                left['objects without an outline (boxes)'] += 1
            elif isinstance(rings, dict):
                shapes.append((names[one['category_id']], rings))
            else:
                points = [np.reshape(ring, (-1, 2)) for ring in rings if len(ring) >= 6]
                shapes.append((names[one['category_id']], points))
        yield picture, shapes


def _labelme(file: Path, content: dict, find: Find, left: Counter) -> Iterator[tuple[Path, list]]:
    picture = find(file, content['imagePath'])
    if picture is None:
        left['pictures that are not there'] += 1
        return
    shapes = []
    for shape in content['shapes']:
        points, kind = np.array(shape['points'], float), shape.get('shape_type', 'polygon')
        if kind == 'rectangle' and len(points) == 2:
            points = box(*points.ravel())
        elif kind == 'circle' and len(points) == 2:
            radius = float(np.linalg.norm(points[1] - points[0]))
            points = ellipse(*points[0], radius, radius)
        elif kind != 'polygon' or len(points) < 3:
            left[f'shapes of the kind {kind}'] += 1
            continue
        shapes.append((str(shape['label']), [points]))
    yield picture, shapes


def draw(drawing: Drawing) -> np.ndarray:
    """(H, W) uint8 of the size of the picture's file: 0, and the values of what is drawn on it."""
    with Image.open(drawing.picture) as picture:
        width, height = picture.size
    label = np.zeros((height, width), np.uint8)
    for value, shape in drawing.objects:
        if isinstance(shape, dict):
            try:
                label[decode_mask(shape, height, width)] = value
            except UserError as error:
                raise UserError(f'{drawing.picture}: {error}.') from None
            continue
        if isinstance(shape, Patch):
            place = label[shape.top :, shape.left :][: shape.mask.shape[0], : shape.mask.shape[1]]
            place[shape.mask[: place.shape[0], : place.shape[1]]] = value
            continue
        # A point at (0, 0) is the corner of the first pixel, whose middle OpenCV counts from.
        rings = [np.round((ring - 0.5) * (1 << _SHIFT)).astype(np.int32) for ring in shape]
        if rings:
            cv2.fillPoly(label, rings, value, cv2.LINE_8, _SHIFT)
    return label
