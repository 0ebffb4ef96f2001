"""Data sets in the shapes that people and exporters leave them in, small: see ``LAYOUTS``.

Each is a function that fills a folder; what should be understood of it stands beside it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE = (48, 64)
COLOURS = np.array([[0, 0, 0], [250, 50, 83], [51, 221, 255], [170, 240, 209]], np.uint8)  # RGB


@dataclass
class Layout:
    """fill(root) writes it; counts: role -> pictures; classes; options of the tool."""

    fill: Callable[[Path], None]
    counts: dict[str, int]
    classes: tuple[str, ...] = ('class_0', 'class_1', 'class_2')
    options: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()
    said: tuple[str, ...] = field(default=())


def scene(number: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) BGR of blocks on noise and its label (H, W), every class in it."""
    rng = np.random.default_rng(number)
    label = np.zeros(SIZE, np.uint8)
    width = SIZE[1] // classes
    for index in range(1, classes):
        top = rng.integers(0, 20)
        label[top : top + 24, index * width : index * width + width - 4] = index
    image = rng.integers(0, 60, (*SIZE, 3), dtype=np.uint8)
    cells = cv2.resize(rng.integers(0, 120, (6, 8, 3), dtype=np.uint8), SIZE[::-1])
    return image + cells + (label * 20)[..., None], label


def write(path: Path, array: np.ndarray) -> None:
    """An image file; colours are RGB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def put(image: Path, label: Path | None, number: int, values=(0, 1, 2)) -> None:
    """A pair whose label stores ``values`` for its classes: numbers, or colours (RGB)."""
    picture, index = scene(number, len(values))
    write(image, picture[..., ::-1])
    if label is not None:
        write(label, np.array(values, np.uint8)[index])


def palette_png(path: Path, index: np.ndarray, colours: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(index)
    picture.putpalette(colours.ravel().tolist())
    picture.save(path)


def _splits(root: Path, image: str, label: str, counts: dict[str, int], values=(0, 1, 2)) -> None:
    """Paths with {s} for the split and {i} for the number."""
    for at, (split, count) in enumerate(counts.items()):
        for i in range(count):
            number = 100 * at + i
            target = root / label.format(s=split, i=number) if label else None
            put(root / image.format(s=split, i=number), target, number, values)


def camvid(root: Path) -> None:
    for split, count in (('train', 6), ('val', 3), ('test', 4)):
        _splits(root, '{s}/{i:04d}.png', f'{split}annot/{{i:04d}}.png', {split: count}, range(12))


def kinds_in_splits(root: Path) -> None:
    _splits(root, '{s}/images/{i}.jpg', '{s}/masks/{i}.png', {'train': 6, 'val': 3})


def splits_in_kinds(root: Path) -> None:
    _splits(
        root, 'images/{s}/{i}.jpg', 'annotations/{s}/{i}.png', {'train': 6, 'val': 3, 'test': 2}
    )


def split_labels(root: Path) -> None:
    for split, count in (('train', 6), ('test', 3)):
        _splits(root, '{s}/{i}.png', f'{split}_labels/{{i}}_L.png', {split: count}, COLOURS[:3])
    rows = ['name,r,g,b', 'Sky,0,0,0', 'Car,250,50,83', 'Tree,51,221,255']
    (root / 'class_dict.csv').write_text('\n'.join(rows))


def roboflow_masks(root: Path) -> None:
    name = '{s}/img_{i}_jpg.rf.0a1b2c{i}'
    _splits(root, name + '.jpg', name + '_mask.png', {'train': 6, 'valid': 2, 'test': 2})
    for split in ('train', 'valid', 'test'):
        text = 'Pixel Value, Class\n0, background\n1, cat\n2, dog\n'
        (root / split / '_classes.csv').write_text(text)
    (root / 'README.roboflow.txt').write_text('Exported.\n')


def cvat_masks(root: Path) -> None:
    _splits(root, 'JPEGImages/{i}.jpg', 'SegmentationClass/{i}.png', {'default': 8}, COLOURS[:3])
    for path in (root / 'SegmentationClass').iterdir():
        other = root / 'SegmentationObject' / path.name
        write(other, np.array(Image.open(path))[..., ::-1])
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    (lists / 'default.txt').write_text(''.join(f'{i}\n' for i in range(8)))
    lines = ['# label:color_rgb:parts:actions', 'background:0,0,0::', 'dog:51,221,255::']
    (root / 'labelmap.txt').write_text('\n'.join([*lines, 'cat:250,50,83::']) + '\n')


def voc(root: Path) -> None:
    names = {'train': range(6), 'val': range(6, 9), 'test': range(9, 11)}
    for i in range(13):
        put(root / f'JPEGImages/2007_{i:06d}.jpg', None, i)
        index = np.where(scene(i)[1] == 2, 255, scene(i)[1]).astype(np.uint8)
        index[:4] = 2
        colours = np.zeros((256, 3), np.uint8)
        colours[[1, 2, 255]] = (128, 0, 0), (0, 128, 0), (224, 224, 192)
        if i < 9:
            for folder in ('SegmentationClass', 'SegmentationObject'):
                palette_png(root / folder / f'2007_{i:06d}.png', index, colours)
    for folder in ('Main', 'Segmentation'):
        (root / 'ImageSets' / folder).mkdir(parents=True)
        for split, numbers in names.items():
            listed = numbers if folder == 'Segmentation' else range(13)
            text = ''.join(f'2007_{i:06d}\n' for i in listed)
            (root / 'ImageSets' / folder / f'{split}.txt').write_text(text)
        (root / 'ImageSets' / folder / 'cat_train.txt').write_text('2007_000000  1\n')


def beside(root: Path) -> None:
    _splits(root, '{i}.jpg', '{i}_mask.png', {'all': 8}, (0, 255))


def flat_with_lists(root: Path) -> None:
    _splits(root, 'a photo {i}.jpg', 'a photo {i}.png', {'all': 8})
    (root / 'train.txt').write_bytes('\ufeff'.encode() + b'a photo 0.jpg\r\na photo 1.jpg\r\n\r\n')
    (root / 'val.txt').write_text('./a photo 4\n./a photo 5\n./a photo 6\nphoto 99\n')


def cities(root: Path) -> None:
    for split, towns in (('train', ('aachen', 'bochum')), ('val', ('ulm',)), ('test', ('bonn',))):
        for town in towns:
            for i in range(4):
                stem = f'{split}/{town}/{town}_{i:06d}_000019'
                label = root / f'gtFine/{stem}_gtFine_labelTrainIds.png'
                put(
                    root / f'leftImg8bit/{stem}_leftImg8bit.png',
                    label,
                    i + 10 * len(town),
                    range(4),
                )
                for kind in ('labelIds', 'instanceIds'):
                    write(root / f'gtFine/{stem}_gtFine_{kind}.png', scene(i, 4)[1] + 7)
                write(root / f'gtFine/{stem}_gtFine_color.png', COLOURS[scene(i, 4)[1]])


def unlabelled_test(root: Path) -> None:
    _splits(root, '{s}/images/{i}.jpg', '{s}/labels/{i}.png', {'train': 8})
    _splits(root, '{s}/images/{i}.jpg', '', {'test': 3})


def from_one(root: Path) -> None:
    _splits(root, 'img/{i}.jpg', 'gt/{i}.png', {'all': 6}, (1, 2, 3))
    (root / 'class_names.txt').write_text('road\ngrass\nwater\n')


def sparse(root: Path) -> None:
    _splits(root, 'x_{s}/{i}.jpg', 'y_{s}/{i}.png', {'train': 6, 'val': 2}, (0, 7, 50, 103))


def greys(root: Path) -> None:
    _splits(root, 'input/{i}.jpg', 'target/{i}.png', {'all': 6}, (0, 85, 170, 255))


def mixed_endings(root: Path) -> None:
    ends = ['.jpg', '.JPG', '.jpeg', '.png']
    for split, numbers in (('train', range(8)), ('val', range(8, 12))):
        for i in numbers:
            label = f'labels/{split}/{i}{(".png", ".PNG")[i % 2]}'
            put(root / f'images/{split}/{i}{ends[i % 4]}', root / label, i)
    (root / 'images/train/._0.jpg').write_bytes(b'\0\5\26\7')
    (root / 'images/train/.ipynb_checkpoints').mkdir()
    (root / 'images/train/.ipynb_checkpoints/0-checkpoint.jpg').write_bytes(b'x')


def videos(root: Path) -> None:
    for video in ('park', 'road', 'lake', 'town'):
        _splits(root, f'frames/{video}_{{i:04d}}.jpg', f'masks/{video}_{{i:04d}}.png', {'a': 6})


def named_folders(root: Path) -> None:
    _splits(root, 'monday/{i}.jpg', 'drawn/monday/{i}.png', {'x': 6})
    _splits(root, 'friday/{i}.jpg', 'drawn/friday/{i}.png', {'x': 3})


def coco_names(root: Path) -> None:
    _splits(root, 'images/{s}/{i}.jpg', 'masks/{s}/{i}.png', {'train': 6, 'val': 2}, (0, 1, 3))
    groups = [dict(id=1, name='boat', supercategory='x'), dict(id=3, name='buoy')]
    (root / 'categories.json').write_text(json.dumps(dict(categories=groups)))


LAYOUTS = {
    'CamVid': Layout(
        camvid, dict(train=6, val=3, test=4), tuple(f'class_{i}' for i in range(11)),
        ('--ignore', '11'),
    ),
    'kinds in splits': Layout(kinds_in_splits, dict(train=6, val=3)),
    'splits in kinds': Layout(splits_in_kinds, dict(train=6, val=3, test=2)),
    'train_labels, a table of colours': Layout(
        split_labels, dict(train=5, val=1, test=3), ('Sky', 'Car', 'Tree'), said=('val: no split',)
    ),
    'Roboflow masks': Layout(
        roboflow_masks, dict(train=6, val=2, test=2), ('background', 'cat', 'dog'),
        said=("0 (", '--zero ignore'),
    ),
    'CVAT masks': Layout(
        cvat_masks, dict(train=7, val=1), ('background', 'dog', 'cat'), said=('labelmap.txt',)
    ),
    'CVAT masks, unlabelled black': Layout(
        cvat_masks, dict(train=7, val=1), ('dog', 'cat'), ('--ignore', 'background')
    ),
    'VOC': Layout(
        voc, dict(train=6, val=3, test=2), unlabelled=('test',),
        said=('ImageSets/Segmentation/train.txt', '255 ('),
    ),
    'beside': Layout(beside, dict(train=7, val=1), ('background', 'foreground')),
    'flat with lists': Layout(
        flat_with_lists, dict(train=2, val=3), said=('photo 99', 'names of val.txt')
    ),
    'cities': Layout(
        cities, dict(train=8, val=4, test=4),
        ('road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign',
         'vegetation', 'terrain', 'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train',
         'motorcycle', 'bicycle'),
    ),
    'test without labels': Layout(
        unlabelled_test, dict(train=7, val=1, test=3), unlabelled=('test',), said=('--format-only',)
    ),
    'from one': Layout(from_one, dict(train=5, val=1), ('road', 'grass', 'water')),
    'sparse values': Layout(
        sparse, dict(train=6, val=2), ('value_0', 'value_7', 'value_50', 'value_103')
    ),
    'sparse values with names': Layout(
        sparse, dict(train=6, val=2), ('sky', 'car', 'tree'),
        ('--classes', 'sky=0,car=7,tree=50', '--ignore', '103'),
    ),
    'even greys': Layout(
        greys, dict(train=5, val=1), ('value_0', 'value_85', 'value_170', 'value_255')
    ),
    'mixed endings': Layout(mixed_endings, dict(train=8, val=4)),
    'videos in groups': Layout(
        videos, dict(train=18, val=6), options=('--group-by', '^(.*)_', '--val-fraction', '0.25'),
        said=('1 of 4 groups',),
    ),
    'folders by name': Layout(
        named_folders, dict(train=6, val=3),
        options=('--train-images', 'monday', '--train-labels', 'drawn/monday', '--val-images',
                 'friday', '--val-labels', 'drawn/friday'),
    ),
    "names of COCO's categories": Layout(
        coco_names, dict(train=6, val=2), ('background', 'boat', 'buoy'), ('--zero', 'class')
    ),
}  # fmt: skip
