"""All pictures of some sources again and again, each under a name of its own, in little memory.

What is kept of a million pictures are 16 bytes each; their names are read anew for every pass. Of a
folder the names of one directory at a time are held, of a list of names one line.
"""

from array import array
from collections.abc import Callable, Iterator
from hashlib import blake2b

import numpy as np

from segkit.errors import UserError

from .sources import Picture

Pictures = Callable[[], Iterator[Picture]]


def plain_name(picture: Picture) -> str:
    """Its name in its sub-folder."""
    return f'{picture.folder}/{picture.name}' if picture.folder else picture.name


class NamedPictures:
    """Pictures with unique names.

    ``fresh`` gives all of them each time it is called, in the same order. ``count``: their number,
    once they have been counted. A name that an earlier picture has, in any letter case, gets the
    next number that makes it a new one.
    """

    def __init__(self, fresh: Pictures) -> None:
        self.fresh = fresh
        digest, keys = blake2b(digest_size=16), array('Q')
        for picture in fresh():
            keys.append(_key(plain_name(picture)))
            digest.update(f'{plain_name(picture)}\0{picture.path}\n'.encode('utf-8', 'replace'))
        self.count, self.digest = len(keys), digest.hexdigest()
        found = np.frombuffer(keys, np.uint64) if keys else np.zeros(0, np.uint64)
        self._order = np.argsort(found, kind='stable')
        self._keys = found[self._order]
        self._twice = set(self._keys[1:][self._keys[1:] == self._keys[:-1]].tolist())

    def __iter__(self) -> Iterator[tuple[int, str, Picture]]:
        """(position, name, picture)."""
        used: dict[str, int] = {}  # of the few names that are there twice, or were made up
        position = -1
        for position, picture in enumerate(self.fresh()):
            yield position, self._unused(plain_name(picture), position, used), picture
        if position + 1 != self.count:
            raise UserError(
                f'{self.count} pictures were found at first and {position + 1} now: leave the '
                'folders alone until all of them are predicted.'
            )

    def _unused(self, name: str, position: int, used: dict[str, int]) -> str:
        unused, lower = name, name.lower()
        while unused.lower() in used or self._earlier(unused, position):
            used[lower] = used.get(lower, 1) + 1
            unused = f'{name}_{used[lower]}'
        if unused != name or _key(name) in self._twice:
            used.setdefault(unused.lower(), 1)
        return unused

    def _earlier(self, name: str, position: int) -> bool:
        """Whether a picture before this one has the name of itself."""
        key = np.uint64(_key(name))
        place = int(np.searchsorted(self._keys, key))
        return (
            place < self.count and self._keys[place] == key and int(self._order[place]) < position
        )


def _key(name: str) -> int:
    data = name.lower().encode('utf-8', 'surrogateescape')
    return int.from_bytes(blake2b(data, digest_size=8).digest(), 'little')
