"""LoveDA (Wang et al., NeurIPS 2021): land cover of three cities, 2,522 / 1,669 pictures.

    loveDA/img_dir/{train,val,test}/1366.png        1024x1024
    loveDA/ann_dir/{train,val}/1366.png             0 is no data, 1..7 are the classes

``tools/dataset_converters/loveda.py`` makes the folders from the published archives.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class LoveDADataset(BaseSegDataset):
    """7 classes; the stored 0 is ignored (``reduce_zero_label``)."""

    METAINFO = dataset_metainfo('loveda')

    def __init__(
        self, img_suffix: str = '.png', reduce_zero_label: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(img_suffix=img_suffix, reduce_zero_label=reduce_zero_label, **kwargs)
