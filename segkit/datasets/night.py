"""Streets at night to test networks of Cityscapes on, in its classes and with its trainIds.

    dark_zurich/rgb_anon/val/night/GOPR0356/X_rgb_anon.png
    dark_zurich/gt/val/night/GOPR0356/X_gt_labelTrainIds.png
    NighttimeDrivingTest/leftImg8bit/test/night/X_leftImg8bit.png
    NighttimeDrivingTest/gtCoarse_daytime_trainvaltest/test/night/X_gtCoarse_labelTrainIds.png

Dark Zurich (Sakaridis et al., ICCV 2019) and Nighttime Driving (Dai and Van Gool, ITSC 2018), 50
labelled pictures of 1920x1080 each, as distributed.
"""

from typing import Any

from segkit.datasets.cityscapes import CityscapesDataset
from segkit.registry import DATASETS


@DATASETS.register_module()
class DarkZurichDataset(CityscapesDataset):
    """19 classes as trainIds, 255 ignored."""

    def __init__(
        self,
        img_suffix: str = '_rgb_anon.png',
        seg_map_suffix: str = '_gt_labelTrainIds.png',
        **kwargs: object,
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@DATASETS.register_module()
class NightDrivingDataset(CityscapesDataset):
    """19 classes as trainIds, 255 ignored."""

    def __init__(self, seg_map_suffix: str = '_gtCoarse_labelTrainIds.png', **kwargs: Any) -> None:
        super().__init__(seg_map_suffix=seg_map_suffix, **kwargs)
