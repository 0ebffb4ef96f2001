"""Listing image-label pairs of a folder tree, by directory entries alone.

No file is asked for its status: a name with the right suffix is taken for a file, and among the
others ``os.scandir`` tells folders from files without a stat call. So a tree of 20,000 pairs is
listed in the time its directories take to read. Stems are paths relative to their folder, without
suffix, with '/' between parts, in the order of the file names.
"""

import os
from collections.abc import Sequence

from mmengine import fileio

_SHOWN = 3


def is_local(path: str, backend_args: dict | None = None) -> bool:
    """Whether a path is of the local file system rather than of a storage service."""
    return backend_args is None and '://' not in path


def _subfolders(path: str, suffix: str) -> list[str]:
    """Names of the folders in ``path`` that do not look like files with this suffix."""
    with os.scandir(path) as entries:
        return [e.name for e in entries if not e.name.endswith(suffix) and e.is_dir()]


def list_files(root: str, suffix: str, folders: list[str] | None = None) -> list[str]:
    """Relative paths of all files below ``root`` that end in ``suffix``, unsorted.

    The folders that were read are appended to ``folders``.
    """
    found: list[str] = []
    pending = ['']
    while pending:
        folder = pending.pop()
        path = os.path.join(root, folder) if folder else root
        if folders is not None:
            folders.append(path)
        names = os.listdir(path)
        matching = [name for name in names if name.endswith(suffix)]
        if len(matching) < len(names):
            pending += [f'{folder}{name}/' for name in _subfolders(path, suffix)]
        found += [folder + name for name in matching] if folder else matching
    return found


def list_stems(
    root: str, suffix: str, backend_args: dict | None = None, folders: list[str] | None = None
) -> list[str]:
    """Stems of a folder in the order of their files' names, local or of a storage service."""
    if is_local(root, backend_args):
        names = list_files(root, suffix, folders)
    else:
        names = fileio.list_dir_or_file(
            dir_path=root, list_dir=False, suffix=suffix, recursive=True, backend_args=backend_args
        )
    cut = -len(suffix) or None
    # By full name, as published splits are ordered: "a-1.jpg" comes before "a.jpg".
    return [name[:cut] for name in sorted(names)]


def read_split(ann_file: str, backend_args: dict | None = None) -> list[str]:
    """Stems listed in a split file, one a line; blank lines are skipped.

    Lines may hold several columns (VOC's class splits): the first is the stem.
    """
    if is_local(ann_file, backend_args) and not os.path.isfile(ann_file):
        raise FileNotFoundError(
            f'{ann_file}: the split file (ann_file) does not exist. Check data_root and '
            "ann_file, or set ann_file='' to use every image of the folder."
        )
    text = fileio.get_text(ann_file, backend_args=backend_args)
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def check_folder(folder: str, key: str, backend_args: dict | None = None) -> None:
    """A local folder named by ``data_prefix[key]`` must exist."""
    if is_local(folder, backend_args) and not os.path.isdir(folder or '.'):
        unlabelled = ' A test set without labels takes tools/test.py --format-only --out DIR.'
        raise FileNotFoundError(
            f'{folder}: the folder of data_prefix.{key} does not exist. Set data_root (and '
            f'data_prefix.{key}) of the dataset in the config to where the data are.'
            f'{unlabelled if key == "seg_map_path" else ""}'
        )


def check_present(
    folder: str, stems: Sequence[str], suffix: str, what: str, folders: list[str] | None = None
) -> None:
    """Every stem has its file: compared with a listing, which costs no stat per file."""
    cut = -len(suffix) or None
    present = {name[:cut] for name in list_files(folder, suffix, folders)}
    missing = [stem + suffix for stem in stems if stem not in present]
    if missing:
        shown = ', '.join(os.path.join(folder, name) for name in missing[:_SHOWN])
        raise FileNotFoundError(
            f'{len(missing)} of {len(stems)} samples have no {what}: {shown}'
            f'{", ..." if len(missing) > _SHOWN else ""}. Check img_suffix and '
            'seg_map_suffix, or list the complete samples in a split file (ann_file).'
        )


def find_stems(
    image_dir: str,
    label_dir: str | None,
    img_suffix: str,
    seg_map_suffix: str,
    ann_file: str = '',
    backend_args: dict | None = None,
    folders: list[str] | None = None,
) -> list[str]:
    """Stems of the complete pairs of two folders, in the split's order or sorted.

    Raises FileNotFoundError for a missing folder, split file, image or label (naming them), and
    ValueError for an empty split.
    """
    check_folder(image_dir, 'img_path', backend_args)
    if ann_file:
        stems = read_split(ann_file, backend_args)
        if is_local(image_dir, backend_args):
            check_present(image_dir, stems, img_suffix, 'image', folders)
    else:
        stems = list_stems(image_dir or '.', img_suffix, backend_args, folders)
    if not stems:
        raise ValueError(
            f'{ann_file or image_dir}: no sample found (images end in {img_suffix!r}), the split '
            'is empty. Check ann_file, data_root, data_prefix and img_suffix of the dataset.'
        )
    if label_dir is not None:
        check_folder(label_dir, 'seg_map_path', backend_args)
        if is_local(label_dir, backend_args):
            check_present(label_dir, stems, seg_map_suffix, 'label', folders)
    return stems
