"""A detector of another OpenMMLab project that borrows a segmentation head."""

import torch
from mmengine.model import BaseModel, BaseModule
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead, PSPHead
from mmseg.models.utils.wrappers import resize
from mmseg.registry import MODELS
from mmseg.structures.seg_data_sample import SegDataSample
from torch import nn


@ROOT.register_module()
class TinyBackbone(BaseModule):

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.stem = nn.Conv2d(3, 16, 3, 4, 1)
        self.body = nn.Conv2d(16, 32, 3, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return x, self.body(x)


@ROOT.register_module()
class PanopticDetector(BaseModel):

    def __init__(self, backbone, semantic_head, second_head, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.backbone = ROOT.build(backbone)
        self.semantic_head = ROOT.build(semantic_head)
        self.second_head = second_head

    def forward(self, inputs, data_samples=None, mode='tensor'):
        maps = self.backbone(inputs)
        if mode == 'loss':
            losses = self.semantic_head.loss(maps, data_samples, {})
            return {**losses, 'loss_second': self.second_head(maps).mean() ** 2}
        return resize(self.semantic_head(maps), size=inputs.shape[2:], mode='bilinear')


def main():
    DefaultScope.get_instance('detector', scope_name='mmengine')
    model = ROOT.build(dict(
        type='PanopticDetector',
        backbone=dict(type='TinyBackbone', init_cfg=dict(type='Kaiming', layer='Conv2d')),
        semantic_head=dict(
            type='mmseg.PSPHead', in_channels=32, in_index=1, channels=8, num_classes=3,
            pool_scales=(1, 2), norm_cfg=dict(type='GN', num_groups=2),
            loss_decode=dict(type='mmseg.CrossEntropyLoss', loss_weight=0.5)),
        second_head=FCNHead(in_channels=16, channels=8, num_classes=3, in_index=0, num_convs=1)))
    assert isinstance(model.semantic_head, PSPHead) and isinstance(model.semantic_head, BaseModule)
    assert MODELS.get('PSPHead') is PSPHead
    model.init_weights()
    samples = [SegDataSample(metainfo=dict(img_shape=(64, 64))) for _ in range(2)]
    for sample in samples:
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 3, (1, 64, 64)))
    losses = model(torch.randn(2, 3, 64, 64), samples, mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    assert {'loss_ce', 'acc_seg', 'loss_second'} < set(logged)
    assert model.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 3, 64, 64)
