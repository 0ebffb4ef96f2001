"""COCO-Stuff (Caesar et al., CVPR 2018): 80 things and 91 kinds of stuff on pictures of COCO.

    coco_stuff164k/images/{train,val}2017/000000000009.jpg
    coco_stuff164k/annotations/{train,val}2017/000000000009_labelTrainIds.png
    coco_stuff10k/{images,annotations}/{train,test}2014/COCO_train2014_000000000077...

Labels are made from the published ones by ``tools/dataset_converters/coco_stuff.py``. Those of 164k
hold 0..170 and 255 for what is ignored; those of 10k hold 1..171 and 0 for it: there
``reduce_zero_label=True`` goes with it.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class COCOStuffDataset(BaseSegDataset):
    """171 classes, 255 ignored."""

    METAINFO = dataset_metainfo('coco_stuff')

    def __init__(self, seg_map_suffix: str = '_labelTrainIds.png', **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, **kwargs)
