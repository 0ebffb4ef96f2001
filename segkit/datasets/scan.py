"""Listing image-label pairs of a folder tree, by directory entries alone.

No file is asked for its status: a name with the right suffix is taken for a file, and for the
others the entry itself tells folders from files. So a tree of 20,000 pairs is listed in the time
its directories take to read. Stems are paths relative to their folder, without suffix, with '/'
between parts, in the order of the file names. What begins with a dot is hidden (``._x.jpg`` of
macOS, ``.ipynb_checkpoints``) and no picture of the data.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from mmengine import dist, fileio
from mmengine.logging import print_log

from segkit import storage
from segkit.command import command
from segkit.errors import DataError, UserError
from segkit.outputs import output_file

SPLIT_WRITER = 'dataset_converters'  # as the list of written files has it
_SHOWN = 3
_UNLISTED = ('http://', 'https://')  # what such a server lists is a page, if anything
_ENDINGS = {'.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp'}
# By their byte order mark; what is no UTF-8 keeps its bytes, as names of files do.
_MARKS = ((b'\xef\xbb\xbf', 'utf-8'), (b'\xff\xfe', 'utf-16-le'), (b'\xfe\xff', 'utf-16-be'))
_P = ParamSpec('_P')
_T = TypeVar('_T')
_list_once = False


@contextmanager
def listed_once() -> Iterator[None]:
    """Within, folders are listed by rank 0 alone, for all ranks, every one of which has to enter.

    A folder on a network disk is then read once for a job and not once for each process.
    """
    global _list_once
    _list_once = True
    try:
        yield
    finally:
        _list_once = False


def _of_rank_zero(find: Callable[_P, _T]) -> Callable[_P, _T]:
    """``find`` on rank 0 alone, within ``listed_once``; its errors are raised on every rank."""

    @wraps(find)
    def found(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        if not _list_once or dist.get_world_size() == 1:
            return find(*args, **kwargs)
        answer: list = [None, None]
        if dist.get_rank() == 0:
            try:
                answer[0] = find(*args, **kwargs)
            except Exception as error:
                answer[1] = error
        dist.broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    return found


def is_local(path: str, backend_args: dict | None = None) -> bool:
    """Whether a path is of the local file system rather than of a storage service."""
    return backend_args is None and not storage.is_remote(path)


def is_hidden(name: str) -> bool:
    """Whether a relative path has a part that begins with a dot."""
    return name.startswith('.') or '/.' in name


def list_files(root: str, suffix: str, others: list[str] | None = None) -> list[str]:
    """Relative paths of all files below ``root`` that end in ``suffix``, unsorted.

    The names of all other files are appended to ``others``. A folder that a link leads back to
    is read once.
    """
    found: list[str] = []
    others = [] if others is None else others
    pending, seen = [''], {os.path.realpath(root)}
    while pending:
        folder = pending.pop()
        path = os.path.join(root, folder) if folder else root
        names = os.listdir(path)
        matching = [name for name in names if name.endswith(suffix) and name[0] != '.']
        found += [folder + name for name in matching] if folder else matching
        if len(matching) == len(names):
            continue
        with os.scandir(path) as entries:
            rest = [e for e in entries if e.name[0] != '.' and not e.name.endswith(suffix)]
        for entry in rest:
            if not entry.is_dir():
                others.append(folder + entry.name)
            elif not entry.is_symlink() or is_new(os.path.realpath(entry.path), seen):
                pending.append(f'{folder}{entry.name}/')
    return found


def is_new(path: str, seen: set[str]) -> bool:
    """Whether a real path lies in none of the folders ``seen``, which it joins."""
    new = not any(place == path or place.startswith(path + os.sep) for place in seen)
    seen.add(path)
    return new


def list_stems(root: str, suffix: str) -> list[str]:
    """Stems of a folder in the order of their files' names, local or of a storage service."""
    return list(_versions(root, suffix, None, in_order=True))


def _versions(
    root: str,
    suffix: str,
    backend_args: dict | None,
    others: list[str] | None = None,
    in_order: bool = False,
) -> dict[str, str]:
    """Stem -> version of the files of a folder, '' where there is none."""
    if is_local(root, backend_args):
        found = dict.fromkeys(list_files(root or '.', suffix, others), '')
    else:
        found = _list_objects(root, suffix, backend_args, others)
    # By full name, as published splits are ordered: "a-1.jpg" comes before "a.jpg".
    names = sorted(found) if in_order else found
    return {name.removesuffix(suffix): found[name] for name in names}


def _list_objects(
    root: str, suffix: str, backend_args: dict | None, others: list[str] | None
) -> dict[str, str]:
    """As ``list_files`` does of a storage service: path -> version, '' where it tells none."""
    if backend_args is not None:
        names: Iterable[str] = fileio.list_dir_or_file(
            dir_path=root, list_dir=False, recursive=True, backend_args=backend_args
        )
        every = dict.fromkeys(names, '')
    else:
        every = storage.list_folder(root)
    seen = {name: version for name, version in every.items() if name and not is_hidden(name)}
    if others is not None:
        others += [name for name in seen if not name.endswith(suffix)]
    return {name: version for name, version in seen.items() if name.endswith(suffix)}


def read_split(ann_file: str, backend_args: dict | None = None) -> list[str]:
    """Lines of a split file without the blank ones, in UTF-8 or UTF-16, ended in any way."""
    try:
        data = read_file(ann_file, backend_args)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f'{ann_file}: the split file (ann_file) does not exist. Check data_root and '
            "ann_file, or set ann_file='' to use every image of the folder."
        ) from error
    mark, code = next(((m, c) for m, c in _MARKS if data.startswith(m)), (b'', 'utf-8'))
    if not mark and b'\0' in data[:64]:  # UTF-16 without a mark: every second byte of ASCII is 0
        code = 'utf-16-be' if data[:1] == b'\0' else 'utf-16-le'
    try:
        text = data[len(mark) :].decode(code, 'surrogateescape' if code == 'utf-8' else 'strict')
    except UnicodeDecodeError as error:
        raise DataError(
            ann_file, f'the split file is no text ({error})', 'Save it as UTF-8, one name a line.'
        ) from error
    lines = text.replace('\r', '\n').split('\n')
    return [line.strip() for line in lines if line.strip()]


def read_file(path: str, backend_args: dict | None = None, version: str = '') -> bytes:
    """The content of a file: through ``segkit.storage``, or a backend of mmengine's."""
    if backend_args is None:
        return storage.read(path, version)
    return fileio.get(path, backend_args=backend_args)


def write_split(path: Path, stems: Iterable[str]) -> int:
    """A split file, one stem a line, sorted; returns how many."""
    names = sorted(set(stems))
    with output_file(path, SPLIT_WRITER) as file:
        file.write(''.join(f'{name}\n' for name in names).encode('utf-8', 'surrogateescape'))
    return len(names)


def split_stems(
    ann_file: str,
    image_dir: str,
    suffix: str,
    present: Collection[str] | None,
    backend_args: dict | None = None,
) -> list[str]:
    """Stems that a split file lists, one a line, among those ``present`` in the folder.

    A line is a stem, with spaces or without; or the file's name with its ending; or its path, with
    leading folders or an absolute one. Where no whole line is a name, and each has more words than
    one and a first word of its own, the first words are the names (VOC's class splits). A line
    that names nothing there is given back without its ending. Where the folder is not listed
    (``present`` is None: a storage service), all lines are taken to be there.
    """
    lines = read_split(ann_file, backend_args)
    firsts = [line.split()[0] for line in lines]
    columns = all(f != line for f, line in zip(firsts, lines)) and len({*firsts}) == len(lines)
    if present is None:
        return [_bare(line, suffix) for line in (firsts if columns else lines)]
    folder = [part for part in os.path.abspath(image_dir).split(os.sep) if part]

    def known(names: list[str]) -> list[str | None]:
        return [
            next((s for s in _spellings(name, suffix, folder) if s in present), None)
            for name in names
        ]

    stems = known(lines)
    if columns and not any(stems):
        stems, lines = known(firsts), firsts
    return [_bare(line, suffix) if s is None else s for s, line in zip(stems, lines)]


def _bare(name: str, suffix: str) -> str:
    """A name without the suffix, or without the ending of a picture."""
    if suffix and name.endswith(suffix):
        return name.removesuffix(suffix)
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in _ENDINGS else name


def _spellings(name: str, suffix: str, folder: Sequence[str]) -> Iterator[str]:
    """The stems that a line of a split may mean, the plainest first."""
    for path in dict.fromkeys((name, name.replace('\\', '/'))):
        yield from (path, _bare(path, suffix))
        path = os.path.normpath(path).replace(os.sep, '/')
        yield from (path, _bare(path, suffix))
        parts = [part for part in path.split('/') if part]
        # '/data/images/train/a.jpg', 'images/train/a.jpg' in the folder /data/images/train
        lengths = [len(folder)] if path.startswith('/') else range(1, len(parts))
        for length in lengths:
            if folder[-length:] == parts[:length]:
                yield _bare('/'.join(parts[length:]), suffix)


def check_folder(folder: str, key: str, backend_args: dict | None = None) -> None:
    """A local folder named by ``data_prefix[key]`` must exist."""
    if is_local(folder, backend_args) and not os.path.isdir(storage.on_disk(folder) or '.'):
        testing = command('test', '... --format-only --out DIR')
        unlabelled = f' A test set without labels takes `{testing}`.'
        raise FileNotFoundError(
            f'{folder}: the folder of data_prefix.{key} does not exist. Set data_root (and '
            f'data_prefix.{key}) of the dataset in the config to where the data are.'
            f'{unlabelled if key == "seg_map_path" else ""}'
        )


def _check_present(
    folder: str, stems: Sequence[str], suffix: str, what: str, present: Collection[str]
) -> None:
    """Every stem has its file: compared with a listing, which costs no stat per file."""
    missing = [stem + suffix for stem in stems if stem not in present]
    if missing:
        shown = ', '.join(os.path.join(folder, name) for name in missing[:_SHOWN])
        raise FileNotFoundError(
            f'{len(missing)} of {len(stems)} samples have no {what}: {shown}'
            f'{", ..." if len(missing) > _SHOWN else ""}. Check img_suffix and '
            'seg_map_suffix, or list the complete samples in a split file (ann_file).'
        )


def _say_left_out(folder: str, suffix: str, others: Iterable[str]) -> None:
    """Warn of pictures beside those taken whose names end otherwise."""
    own = os.path.splitext(suffix)[1]
    endings = Counter(os.path.splitext(name)[1] for name in others)
    found = {e: n for e, n in endings.items() if e.lower() in _ENDINGS and e != own}
    if found:
        counts = ', '.join(f'{count} {ending}' for ending, count in sorted(found.items()))
        print_log(
            f'{folder}: {sum(found.values())} pictures are left out, as img_suffix is {suffix!r}: '
            f'{counts}. To use them too, rename them, or join a dataset with '
            f'img_suffix={min(found)!r} to this one by ConcatDataset.',
            'current',
            30,
        )


def _say_repeated(ann_file: str, stems: Sequence[str]) -> None:
    """Warn of pictures that a split file names again: they count as often as they are named."""
    again = [stem for stem, count in Counter(stems).items() if count > 1]
    if again:
        shown = ', '.join(again[:_SHOWN]) + (', ...' if len(again) > _SHOWN else '')
        print_log(
            f'{ann_file}: {len(again)} pictures are named more than once, and count as often: '
            f'{shown}.',
            'current',
            30,
        )


class Pairs(NamedTuple):
    """The samples of two folders: their stems, and stem -> version of the objects of a store."""

    stems: list[str]
    images: dict[str, str]
    labels: dict[str, str]


@_of_rank_zero
def find_pairs(
    image_dir: str,
    label_dir: str | None,
    img_suffix: str,
    seg_map_suffix: str,
    ann_file: str = '',
    backend_args: dict | None = None,
) -> Pairs:
    """The complete pairs of two folders, in the split's order or sorted.

    Raises FileNotFoundError for a missing folder, split file, image or label (naming them), and
    ValueError for an empty split.
    """
    check_folder(image_dir, 'img_path', backend_args)
    others: list[str] = []
    if ann_file:
        present = _present(image_dir, img_suffix, backend_args)
        stems = split_stems(ann_file, image_dir, img_suffix, present, backend_args)
        if present is not None:
            _check_present(image_dir, stems, img_suffix, 'image', present)
        _say_repeated(ann_file, stems)
    else:
        present = _versions(image_dir, img_suffix, backend_args, others, in_order=True)
        stems = list(present)
        if label_dir and os.path.join(label_dir, '').startswith(os.path.join(image_dir, '')):
            others = [name for name in others if not name.endswith(seg_map_suffix)]
        _say_left_out(image_dir, img_suffix, others)
    if not stems:
        raise UserError(
            f'{ann_file or image_dir}: no sample found (images end in {img_suffix!r}), the split '
            'is empty. Check ann_file, data_root, data_prefix and img_suffix of the dataset.'
        )
    labels = None
    if label_dir is not None:
        check_folder(label_dir, 'seg_map_path', backend_args)
        labels = _present(label_dir, seg_map_suffix, backend_args)
        if labels is not None:
            _check_present(label_dir, stems, seg_map_suffix, 'label', labels)
    versions = (
        {s: v[s] for s in stems if v.get(s)} if v and any(v.values()) else {}
        for v in (present, labels)
    )
    return Pairs(stems, *versions)


def _present(folder: str, suffix: str, backend_args: dict | None) -> dict[str, str] | None:
    """Stem -> version of all files of a folder; None where listing it is not for granted."""
    if backend_args is not None or folder.startswith(_UNLISTED):
        return None
    return _versions(folder, suffix, backend_args)
