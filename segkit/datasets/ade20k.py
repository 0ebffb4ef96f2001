"""ADE20K, the scene-parsing benchmark (Zhou et al., CVPR 2017): 20,210 training images.

    ADEChallengeData2016/images/{training,validation}/ADE_train_00000001.jpg
    ADEChallengeData2016/annotations/{training,validation}/ADE_train_00000001.png

Labels: 0 is unlabelled, 1..150 are the classes.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class ADE20KDataset(BaseSegDataset):
    """150 classes; the stored 0 is ignored (``reduce_zero_label``)."""

    METAINFO = dataset_metainfo('ade20k')

    def __init__(self, reduce_zero_label: bool = True, **kwargs: Any) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)
