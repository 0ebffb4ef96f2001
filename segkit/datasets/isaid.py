"""iSAID (Waqas Zamir et al., CVPR Workshops 2019): objects on the aerial pictures of DOTA.

    iSAID/img_dir/{train,val}/P0000_0_896_0_896.png
    iSAID/ann_dir/{train,val}/P0000_0_896_0_896_instance_color_RGB.png

``tools/dataset_converters/isaid.py`` cuts the tiles of 896x896, which overlap by 384.
"""

from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS


@DATASETS.register_module()
class iSAIDDataset(BaseSegDataset):  # noqa: N801 - the published name
    """15 classes of objects, and the background as class 0."""

    METAINFO = dataset_metainfo('isaid')

    def __init__(
        self,
        img_suffix: str = '.png',
        seg_map_suffix: str = '_instance_color_RGB.png',
        **kwargs: Any,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)
