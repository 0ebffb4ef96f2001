"""CamVid (Brostow et al., ECCV 2008) in the 11 classes of SegNet: 367 / 101 / 233 pictures.

    CamVid/{train,val,test}/0001TP_006690.png             480x360
    CamVid/{train,val,test}annot/0001TP_006690.png        0..10 are the classes, 11 is void

Folders and labels are those of SegNet's release (Badrinarayanan et al., 2015), which
``tools/dataset_converters/camvid.py`` makes from the original of 960x720 in 32 colours.
"""

from collections.abc import Sequence
from typing import Any

from segkit.datasets.base import BaseSegDataset
from segkit.datasets.metainfo import dataset_metainfo
from segkit.registry import DATASETS

VOID = 11


@DATASETS.register_module()
class CamVidDataset(BaseSegDataset):
    """11 classes; the stored 11 is ignored."""

    METAINFO = dataset_metainfo('camvid')

    def __init__(self, img_suffix: str = '.png', **kwargs: Any) -> None:
        super().__init__(img_suffix=img_suffix, **kwargs)

    @classmethod
    def get_label_map(
        cls, new_classes: Sequence[str] | None = None, ignore_index: int = 255
    ) -> dict[int, int]:
        """Old index -> new index for a subset of the classes; void becomes ``ignore_index``."""
        return {**(super().get_label_map(new_classes, ignore_index) or {}), VOID: ignore_index}
