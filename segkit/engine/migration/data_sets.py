"""Data sets of older configs: their folders under today's names, their classes as ours.

A data set of mmsegmentation's that is no class here is a pair of folders with suffixes of its own.
"""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from segkit.registry import DATASETS

Dict = dict[str, Any]
_FOLDERS = ('img_dir', 'ann_dir', 'split')
_PREFIXES = {'img_dir': 'img_path', 'ann_dir': 'seg_map_path'}
_NOT_OURS = ('pipeline', 'classes', 'palette', 'file_client_args', 'gt_seg_map_loader_cfg')


def _files(image: str, label: str, **more: Any) -> Dict:
    return dict(img_suffix=image, seg_map_suffix=label, **more)


# type there -> type here, and the arguments that make up the difference.
TYPES = {
    'CustomDataset': ('BaseSegDataset', {}),
    'ChaseDB1Dataset': ('BaseSegDataset', _files('.png', '_1stHO.png')),
    'DRIVEDataset': ('BaseSegDataset', _files('.png', '_manual1.png')),
    'HRFDataset': ('BaseSegDataset', _files('.png', '.png')),
    'STAREDataset': ('BaseSegDataset', _files('.png', '.ah.png')),
    'BDD100KDataset': ('BaseSegDataset', _files('.jpg', '.png')),
    'MapillaryDataset_v1': ('BaseSegDataset', _files('.jpg', '.png')),
    'MapillaryDataset_v2': ('BaseSegDataset', _files('.jpg', '.png')),
    'SynapseDataset': ('BaseSegDataset', _files('.jpg', '.png')),
    'LIPDataset': ('BaseSegDataset', _files('.jpg', '.png')),
    'REFUGEDataset': ('BaseSegDataset', _files('.png', '.png')),
}  # fmt: skip


def convert_dataset(old: Mapping[str, Any], pipeline: list[Dict], classes: int | None) -> Dict:
    """One data set, or a ConcatDataset where a folder or a split was a list.

    Args:
        pipeline: already ours.
        classes: how many, to number those of a data set whose names are not known here.
    """
    if 'dataset' in old:  # RepeatDataset and its like
        return {**old, 'dataset': convert_dataset(old['dataset'], pipeline, classes)}
    if _takes_older_names(old.get('type')):
        kept = {k: v for k, v in old.items() if k != 'file_client_args'}
        return {**kept, 'pipeline': pipeline}
    lists = {k: v for k, v in old.items() if k in _FOLDERS and isinstance(v, (list, tuple))}
    if lists:
        count = len(next(iter(lists.values())))
        parts = [{**old, **{k: v[i] for k, v in lists.items()}} for i in range(count)]
        parts = [convert_dataset(part, pipeline, classes) for part in parts]
        return dict(type='ConcatDataset', datasets=parts)
    new = {k: v for k, v in old.items() if k not in (*_FOLDERS, *_NOT_OURS)}
    if old.get('split'):
        new['ann_file'] = old['split']
    prefix = {name: old[key] for key, name in _PREFIXES.items() if old.get(key)}
    metainfo = {key: old[key] for key in ('classes', 'palette') if old.get(key)}
    new |= dict(data_prefix=prefix, pipeline=pipeline)
    return retyped({**new, 'metainfo': metainfo} if metainfo else new, classes)


def _takes_older_names(kind: object) -> bool:
    """Whether a class of a project derives from 0.x's base class, whose arguments it may name."""
    found = DATASETS.get(kind) if isinstance(kind, str) and kind not in TYPES else None
    bases = found.__mro__ if isinstance(found, type) else ()
    return any('img_dir' in signature(vars(c).get('__init__', len)).parameters for c in bases)


def retyped(dataset: Dict, classes: int | None) -> Dict:
    """A data set of a type that is not here as one that is; any other as it is."""
    kind = dataset.get('type')
    if kind not in TYPES:
        return dataset
    name, arguments = TYPES[kind]
    new = {**arguments, **dataset, 'type': name}
    if name == 'BaseSegDataset' and not (new.get('metainfo') or {}).get('classes') and classes:
        new['metainfo'] = dict(classes=[f'class {i}' for i in range(classes)])
    return new


def unnamed(dataset: Mapping[str, Any]) -> bool:
    """Whether the classes of a converted data set had to be numbered."""
    names = (dataset.get('metainfo') or {}).get('classes') or ()
    return bool(names) and list(names) == [f'class {i}' for i in range(len(names))]
