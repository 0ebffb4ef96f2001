"""What scripts and modules written for mmsegmentation import: helpers and names of types."""

from collections.abc import Sequence

import numpy as np
from mmengine.registry import DefaultScope, Registry
from torch import Tensor

import segkit.registry
from segkit.structures import SegDataSample

ConfigType = dict  # or mmengine's ConfigDict, which is one
OptConfigType = ConfigType | None
MultiConfig = ConfigType | Sequence[ConfigType]
OptMultiConfig = MultiConfig | None
SampleList = Sequence[SegDataSample]
OptSampleList = SampleList | None
TensorDict = dict[str, Tensor]
TensorList = Sequence[Tensor]
ForwardResults = dict[str, Tensor] | list[SegDataSample] | tuple[Tensor] | Tensor
ImageType = str | np.ndarray | Sequence[str] | Sequence[np.ndarray]
InputType = str | np.ndarray
InputsType = InputType | Sequence[InputType]
PredType = SegDataSample | SampleList

# Data set, as mmsegmentation called it -> all names of it.
dataset_aliases = {
    'cityscapes': ['cityscapes'],
    'ade': ['ade', 'ade20k'],
    'voc': ['voc', 'pascal_voc', 'voc12', 'voc12aug'],
    'pcontext': ['pcontext', 'pascal_context', 'voc2010'],
    'loveda': ['loveda'],
    'potsdam': ['potsdam'],
    'vaihingen': ['vaihingen'],
    'cocostuff': [
        'cocostuff', 'cocostuff10k', 'cocostuff164k', 'coco-stuff', 'coco-stuff10k',
        'coco-stuff164k', 'coco_stuff', 'coco_stuff10k', 'coco_stuff164k',
    ],
    'isaid': ['isaid', 'iSAID'],
}  # fmt: skip
# What it is called here; their Pascal Context has no background.
_OURS = {
    'ade': 'ade20k', 'voc': 'pascal_voc12', 'pcontext': 'pascal_context_59', 'potsdam': 'isprs',
    'vaihingen': 'isprs', 'cocostuff': 'coco_stuff',
}  # fmt: skip
_SHORT = {n: _OURS.get(name, name) for name, names in dataset_aliases.items() for n in names}


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register every class of the package.

    Building by type string does that by itself; scripts that call it keep working.

    Args:
        init_default_scope: also let mmengine's registries look up bare names in 'segkit' first.
    """
    for found in vars(segkit.registry).values():
        if isinstance(found, Registry):
            found.import_from_location()
    if init_default_scope and not DefaultScope.check_instance_created('segkit'):
        DefaultScope.get_instance('segkit', scope_name='segkit')


def get_classes(dataset: str) -> list[str]:
    """Names of the classes of a benchmark dataset: 'cityscapes', 'ade', 'voc', 'pcontext', ...

    Raises:
        KeyError: no such dataset; it lists those there are.
    """
    return list(_metainfo(dataset)['classes'])


def get_palette(dataset: str) -> list[list[int]]:
    """The [r, g, b] of each of ``get_classes``."""
    return _metainfo(dataset)['palette']


def _metainfo(dataset: str) -> dict:
    from segkit.datasets.metainfo import dataset_metainfo  # brings OpenCV along

    return dataset_metainfo(_SHORT.get(dataset, dataset))


def add_prefix(inputs: dict, prefix: str) -> dict:
    """The same values under 'prefix.key'."""
    return {f'{prefix}.{key}': value for key, value in inputs.items()}
