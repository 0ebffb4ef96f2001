"""The files below a folder as a person sees them: nothing hidden, endings in any case."""

import os
from collections.abc import Iterator

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp')


def visible_files(root: str | os.PathLike[str]) -> Iterator[str]:
    """Relative paths, '/' between their parts, of all files whose path has no hidden part.

    Hidden is what begins with a dot: ``._x.jpg`` of macOS, ``.ipynb_checkpoints``. Links to folders
    are followed, each folder once.
    """
    seen: set[str] = set()
    for path, folders, names in os.walk(os.fspath(root), followlinks=True):
        real = os.path.realpath(path)
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        below = os.path.relpath(path, root)
        prefix = '' if below == '.' else below.replace(os.sep, '/') + '/'
        yield from (prefix + name for name in sorted(names) if not name.startswith('.'))


def is_picture(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def list_pictures(root: str | os.PathLike[str]) -> list[str]:
    """Relative paths of the visible pictures below a folder, sorted."""
    return sorted(name for name in visible_files(root) if is_picture(name))
