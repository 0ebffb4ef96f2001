"""What the names of folders and lists say: train, val or test; pictures or labels.

``trainannot``, ``train_labels``, ``images/training``, ``leftImg8bit/val``, ``y_test``: each part of
a path is read for a role and for a kind.
"""

import re
from dataclasses import dataclass

ROLES = {
    'train': ('train', 'training', 'trn', 'trainval'),
    'val': ('val', 'valid', 'validation', 'dev'),
    'test': ('test', 'testing', 'tst'),
}
_ROLE_OF = {word: role for role, words in ROLES.items() for word in words}
LABEL_WORDS = (
    'annotations', 'annotation', 'annots', 'annot', 'anno', 'ann', 'labels', 'label', 'labelids',
    'lbl', 'masks', 'mask', 'msk', 'groundtruth', 'gtfine', 'gt', 'segmentationclass', 'targets',
    'segmentations', 'segmentation', 'segs', 'seg', 'target',
)  # fmt: skip
IMAGE_WORDS = (
    'images', 'image', 'imgs', 'img', 'jpegimages', 'leftimg8bit', 'photos', 'photo', 'pictures',
    'picture', 'pics', 'rgb', 'inputs', 'input', 'frames',
)  # fmt: skip
# Label files that hold something else than class indices, or the same once more for the eye.
OTHER_WORDS = (
    'color', 'colour', 'colors', 'instance', 'instances', 'instanceids', 'panoptic', 'vis', 'viz',
    'overlay', 'preview', 'segmentationobject', 'polygons', 'depth',
)  # fmt: skip
_SEPARATED = re.compile(r'[^a-z]+')
_HUMP = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')


@dataclass(frozen=True)
class Meaning:
    """role: 'train', 'val', 'test' or ''. kind: 'images', 'labels', 'other' or ''."""

    role: str = ''
    kind: str = ''


def _kind(word: str) -> str:
    if word in OTHER_WORDS:
        return 'other'
    if word in LABEL_WORDS:
        return 'labels'
    return 'images' if word in IMAGE_WORDS else ''


def _glued(word: str) -> tuple[str, str]:
    """Role and kind of 'trainannot' and 'maskstest'; of other words nothing."""
    for name, role in _ROLE_OF.items():
        if word.startswith(name) and _kind(word[len(name) :]):
            return role, _kind(word[len(name) :])
        if word.endswith(name) and _kind(word[: -len(name)]):
            return role, _kind(word[: -len(name)])
    return '', ''


def meaning_of_name(name: str) -> Meaning:
    """What one part of a path says. Two roles in one name say nothing."""
    whole = _SEPARATED.sub('', name.lower())
    words = [w for w in _SEPARATED.split(name.lower()) if w]
    words += [w for w in _SEPARATED.split(_HUMP.sub('_', name).lower()) if w not in words]
    roles = {_ROLE_OF[word] for word in words if word in _ROLE_OF}
    kinds = {_kind(word) for word in words} | {_kind(whole)}
    for word in (*words, whole):
        role, kind = _glued(word)
        roles |= {role} - {''}
        kinds |= {kind}
    if roles and words[0] in ('x', 'y'):
        kinds |= {{'x': 'images', 'y': 'labels'}[words[0]]}
    kind = next((kind for kind in ('other', 'labels', 'images') if kind in kinds), '')
    if {'train', 'val'} == roles:
        return Meaning('train', kind)
    return Meaning(roles.pop() if len(roles) == 1 else '', kind)


def meaning_of_path(path: str) -> Meaning:
    """Role and kind of a folder, each from the last part that has one."""
    found = [meaning_of_name(part) for part in path.split('/') if part]
    role = next((m.role for m in reversed(found) if m.role), '')
    kinds = [m.kind for m in found if m.kind]
    return Meaning(role, 'other' if 'other' in kinds else kinds[-1] if kinds else '')


def base_of(folder: str) -> str:
    """The folder up to its last part that has a meaning: what lies below belongs to the names."""
    parts = folder.split('/') if folder else []
    told = [i for i, part in enumerate(parts) if meaning_of_name(part) != Meaning()]
    return '/'.join(parts[: told[-1] + 1]) if told else ''
