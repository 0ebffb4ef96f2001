"""The two cities of the ISPRS 2D Semantic Labeling Contest (2012), cut into tiles of 512x512.

    potsdam/{img_dir,ann_dir}/{train,val}/2_10_0_0_512_512.png       5 cm a pixel, 24 / 14 pictures
    vaihingen/{img_dir,ann_dir}/{train,val}/area1_0_0_512_512.png    9 cm a pixel, 16 / 17 pictures

Labels: 0 is the boundary of objects, 1..6 are the classes. ``tools/dataset_converters/isprs.py``
cuts the tiles.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module(name=['ISPRSDataset', 'PotsdamDataset'])
class ISPRSDataset(BaseSegDataset):
    """6 classes; the stored 0 is ignored (``reduce_zero_label``)."""

    METAINFO = dataset_metainfo('isprs')

    def __init__(
        self, img_suffix: str = '.png', reduce_zero_label: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, reduce_zero_label=reduce_zero_label, **kwargs)


PotsdamDataset = ISPRSDataset
