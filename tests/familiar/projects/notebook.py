"""The tutorial's notebook: a shipped config changed in place, mmengine's Runner, an inferencer."""

import numpy as np
from mmengine import Config
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, inference_model, init_model, show_result_pyplot
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

classes = ('road', 'pothole', 'lane')
palette = [[128, 64, 128], [255, 0, 0], [255, 255, 255]]


@DATASETS.register_module()
class NotebookDataset(BaseSegDataset):
    METAINFO = dict(classes=classes, palette=palette)

    def __init__(self, **kwargs):
        super().__init__(img_suffix='.jpg', seg_map_suffix='.png', **kwargs)


def main():
    cfg = Config.fromfile('base_config.py')
    cfg.norm_cfg = dict(type='BN', requires_grad=True)
    cfg.model.backbone.norm_cfg = cfg.norm_cfg
    cfg.model.decode_head.norm_cfg = cfg.norm_cfg
    cfg.model.auxiliary_head.norm_cfg = cfg.norm_cfg
    cfg.model.decode_head.num_classes = 3
    cfg.dataset_type = 'NotebookDataset'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.type = cfg.dataset_type
        loader.dataset.pop('metainfo')
    cfg.train_dataloader.dataset.ann_file = 'train.txt'
    cfg.val_dataloader.dataset.ann_file = 'val.txt'
    cfg.test_dataloader = cfg.val_dataloader
    cfg.work_dir = './work_dirs/tutorial'
    cfg.default_hooks.logger.interval = 1
    cfg.default_hooks.checkpoint.interval = 2
    cfg['randomness'] = dict(seed=0)
    runner = Runner.from_cfg(cfg)
    runner.train()

    model = init_model(cfg, './work_dirs/tutorial/iter_2.pth', 'cpu')
    image = np.full((40, 56, 3), 128, np.uint8)
    result = inference_model(model, image)
    vis = show_result_pyplot(model, image, result, 0.7, 'result', show=False)
    assert vis.shape == (40, 56, 3)
    inferencer = MMSegInferencer(model=model)
    found = inferencer([image, image], show=False, return_vis=True, out_dir='outputs')
    assert [p.shape for p in found['predictions']] == [(40, 56)] * 2
    assert inferencer(image, return_datasamples=True).pred_sem_seg.data.shape == (1, 40, 56)
