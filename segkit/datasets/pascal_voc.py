"""Pascal VOC 2012 segmentation (Everingham et al.), and its augmentation by SBD.

    VOC2012/JPEGImages/2007_000032.jpg
    VOC2012/SegmentationClass/2007_000032.png        palette PNG, 255 around objects
    VOC2012/SegmentationClassAug/2008_000002.png     from SBD (Hariharan et al., ICCV 2011)
    VOC2012/ImageSets/Segmentation/{train,val,trainval,aug}.txt

The usual training set, 10,582 images, is ``train.txt`` and ``aug.txt`` together, each with its own
label folder: a ``ConcatDataset`` of two.
"""

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class PascalVOCDataset(BaseSegDataset):
    """21 classes with the background as class 0."""

    METAINFO = dataset_metainfo('pascal_voc12')
