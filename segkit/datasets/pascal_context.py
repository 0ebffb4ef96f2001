"""Pascal Context (Mottaghi et al., CVPR 2014): 4,998 training and 5,105 validation images.

    VOC2010/JPEGImages/2008_000002.jpg
    VOC2010/SegmentationClassContext/2008_000002.png
    VOC2010/ImageSets/SegmentationContext/{train,val}.txt

Labels: 0 is the background (all other of the 459 annotated classes), 1..59 the frequent ones.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class PascalContextDataset(BaseSegDataset):
    """60 classes, the background among them."""

    METAINFO = dataset_metainfo('pascal_context')


@DATASETS.register_module()
class PascalContextDataset59(PascalContextDataset):
    """59 classes: the background is ignored (``reduce_zero_label``)."""

    METAINFO = dataset_metainfo('pascal_context_59')

    def __init__(self, reduce_zero_label: bool = True, **kwargs: Any) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)
