"""Cityscapes (Cordts et al., CVPR 2016): 2,975 training and 500 validation images, 2048x1024.

    cityscapes/leftImg8bit/{train,val,test}/CITY/CITY_000000_000019_leftImg8bit.png
    cityscapes/gtFine/{train,val}/CITY/CITY_000000_000019_gtFine_labelTrainIds.png

The trainId labels are made from the polygons by ``tools/dataset_converters``. The benchmark's
server and tools take the label ids of cityscapesscripts' ``labels.py``.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS

# Label ids of the 19 evaluated classes, by trainId.
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_META = dataset_metainfo('cityscapes')


@DATASETS.register_module()
class CityscapesDataset(BaseSegDataset):
    """19 classes as trainIds, 255 ignored."""

    METAINFO = {**_META, 'label_ids': dict(zip(_META['classes'], _IDS))}

    def __init__(
        self,
        img_suffix: str = '_leftImg8bit.png',
        seg_map_suffix: str = '_gtFine_labelTrainIds.png',
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
