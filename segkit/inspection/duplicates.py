"""Pictures of one split that look like pictures of another: scores on them mean little.

Two pictures are near-duplicates if their looks (``examine.look_of``) correlate: what differs is
brightness, contrast, size or compression, not what they show. Frames of a slow video do too.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from segkit.command import command
from segkit.engine.before_training import WARNING, Finding

_ALIKE = 0.97
_FLAT = 1.0  # grey levels of standard deviation below which a look says nothing
_ROWS = 512

Looks = Sequence[tuple[str, np.ndarray]]


def near_duplicates(ours: Looks, others: Looks) -> list[tuple[str, str]]:
    """(picture of ours, the most similar of others) for those that look alike or are one file."""
    mine, first = _directions(ours)
    theirs, second = _directions(others)
    found = []
    for start in range(0, len(first), _ROWS):
        alike = first[start : start + _ROWS] @ second.T if len(second) else np.zeros((0, 0))
        for row, path in zip(alike, mine[start : start + _ROWS]):
            best = int(row.argmax())
            if row[best] >= _ALIKE:
                found.append((path, theirs[best]))
    return found


def _directions(looks: Looks) -> tuple[list[str], np.ndarray]:
    """Paths and (N, 256) unit vectors of the looks that are not flat."""
    kept = [(path, look.ravel() - look.mean()) for path, look in looks if look.std() > _FLAT]
    vectors = np.array([vector / np.linalg.norm(vector) for _, vector in kept], np.float32)
    return [path for path, _ in kept], vectors.reshape(len(kept), 256)


def duplicate_findings(splits: Mapping[str, Looks]) -> Iterable[Finding]:
    """A warning for each split that shows what is trained on. 'train', 'val', ... -> looks."""
    for name, looks in splits.items():
        if name == 'train' or 'train' not in splits:
            continue
        same = {str(Path(path).resolve()) for path, _ in splits['train']}
        shared = [path for path, _ in looks if str(Path(path).resolve()) in same]
        known = set(shared)
        alike = [pair for pair in near_duplicates(looks, splits['train']) if pair[0] not in known]
        if shared:
            yield Finding(
                WARNING,
                f'{len(shared)} of {len(looks)} pictures of {name} are trained on too: scores on '
                'them mean nothing. Leave them out of one of the two lists (ann_file).',
                [f'{path}: in both' for path in shared],
                pictures=shared[:4],
            )
        if alike:
            yield Finding(
                WARNING,
                f'{len(alike)} of {len(looks)} pictures of {name} look like pictures that are '
                'trained on (frames of one video, copies): scores on them are too good. Split by '
                f'video or place: `{command("new_dataset", "FOLDER --group-by PATTERN")}` keeps a '
                'group in one split.',
                [f'{path}: like {other}' for path, other in alike],
                pictures=[path for pair in alike[:2] for path in pair],
            )
