"""Potholes: a data set class of one's own, trained, tested and looked at."""

import os.path as osp

import mmengine.fileio as fileio
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model, show_result_pyplot
from mmseg.datasets.basesegdataset import BaseSegDataset
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules


@DATASETS.register_module()
class PotholeDataset(BaseSegDataset):
    METAINFO = dict(
        classes=('road', 'pothole', 'lane'),
        palette=[[128, 64, 128], [255, 0, 0], [255, 255, 255]])

    def __init__(self, img_suffix='.jpg', seg_map_suffix='.png', **kwargs) -> None:
        super().__init__(
            img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, reduce_zero_label=False, **kwargs)
        assert fileio.exists(self.data_prefix['img_path'], self.backend_args)

    def load_data_list(self):
        data_list = super().load_data_list()
        for data_info in data_list:
            data_info['night'] = 'night' in osp.basename(data_info['img_path'])
        return data_list


CONFIG = """
_base_ = './base_config.py'
dataset_type = 'PotholeDataset'
train_dataloader = dict(dataset=dict(type=dataset_type, metainfo=dict(_delete_=True)))
val_dataloader = dict(dataset=dict(type=dataset_type, metainfo=dict(_delete_=True)))
test_dataloader = val_dataloader
"""


def main():
    register_all_modules()
    with open('potholes.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('potholes.py')
    cfg.work_dir = 'work_dirs/potholes'
    runner = Runner.from_cfg(cfg)
    assert runner.train_dataloader.dataset.metainfo['classes'] == ('road', 'pothole', 'lane')
    runner.train()

    model = init_model('potholes.py', 'work_dirs/potholes/iter_2.pth', device='cpu')
    assert tuple(model.dataset_meta['classes']) == ('road', 'pothole', 'lane')
    image = 'data/images/val/00_night.jpg'
    result = inference_model(model, image)
    assert result.pred_sem_seg.data.shape == (1, 48, 64)
    show_result_pyplot(
        model, image, result, show=False, with_labels=True, out_file='pothole_night.png')
    assert osp.exists('pothole_night.png')
