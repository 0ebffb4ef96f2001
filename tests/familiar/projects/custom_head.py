"""A head, a loss and a sampler of one's own."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import Runner
from mmseg.models.builder import build_loss
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.psp_head import PPM
from mmseg.models.losses import accuracy
from mmseg.models.losses.utils import get_class_weight, weight_reduce_loss
from mmseg.models.utils import resize
from mmseg.registry import MODELS, TASK_UTILS
from mmseg.structures import BasePixelSampler
from mmseg.utils import ConfigType, SampleList


@MODELS.register_module()
class SoftDiceLoss(nn.Module):

    def __init__(self, smooth=1.0, class_weight=None, loss_weight=1.0, loss_name='loss_dice'):
        super().__init__()
        self.smooth = smooth
        self.class_weight = get_class_weight(class_weight)
        self.loss_weight = loss_weight
        self._loss_name = loss_name

    def forward(self, pred, target, weight=None, avg_factor=None, reduction_override=None,
                ignore_index=255, **kwargs):
        valid = (target != ignore_index).unsqueeze(1)
        hot = F.one_hot(torch.clamp(target, 0, pred.shape[1] - 1), pred.shape[1])
        hot = hot.permute(0, 3, 1, 2) * valid
        prob = F.softmax(pred, dim=1) * valid
        score = (2 * (prob * hot).sum((2, 3)) + self.smooth) / (
            (prob + hot).sum((2, 3)) + self.smooth)
        loss = weight_reduce_loss(1 - score, None, 'mean', avg_factor)
        return self.loss_weight * loss

    @property
    def loss_name(self):
        return self._loss_name


@TASK_UTILS.register_module()
class EveryOtherPixelSampler(BasePixelSampler):

    def __init__(self, context, step=2):
        super().__init__()
        self.context = context
        self.step = step

    def sample(self, seg_logit, seg_label):
        weight = seg_logit.new_zeros(seg_label.squeeze(1).shape)
        weight[:, ::self.step, ::self.step] = 1
        return weight


@MODELS.register_module()
class PyramidHead(BaseDecodeHead):

    def __init__(self, pool_scales=(1, 2), **kwargs):
        super().__init__(**kwargs)
        self.psp_modules = PPM(
            pool_scales, self.in_channels, self.channels, conv_cfg=self.conv_cfg,
            norm_cfg=self.norm_cfg, act_cfg=self.act_cfg, align_corners=self.align_corners)
        self.bottleneck = ConvModule(
            self.in_channels + len(pool_scales) * self.channels, self.channels, 3, padding=1,
            conv_cfg=self.conv_cfg, norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)

    def forward(self, inputs):
        x = self._transform_inputs(inputs)
        outs = [x]
        outs.extend(self.psp_modules(x))
        return self.cls_seg(self.bottleneck(torch.cat(outs, dim=1)))

    def loss_by_feat(self, seg_logits: torch.Tensor, batch_data_samples: SampleList) -> dict:
        seg_label = self._stack_batch_gt(batch_data_samples)
        loss = dict()
        seg_logits = resize(
            input=seg_logits, size=seg_label.shape[2:], mode='bilinear',
            align_corners=self.align_corners)
        seg_weight = None
        if self.sampler is not None:
            seg_weight = self.sampler.sample(seg_logits, seg_label)
        seg_label = seg_label.squeeze(1)
        losses_decode = self.loss_decode
        if not isinstance(losses_decode, nn.ModuleList):
            losses_decode = [losses_decode]
        for loss_decode in losses_decode:
            loss[loss_decode.loss_name] = loss_decode(
                seg_logits, seg_label, weight=seg_weight, ignore_index=self.ignore_index)
        loss['acc_seg'] = accuracy(seg_logits, seg_label, ignore_index=self.ignore_index)
        return loss


CONFIG = """
_base_ = './base_config.py'
model = dict(
    decode_head=dict(
        type='PyramidHead',
        sampler=dict(type='EveryOtherPixelSampler', step=3),
        loss_decode=[
            dict(type='CrossEntropyLoss', loss_name='loss_ce', loss_weight=1.0),
            dict(type='SoftDiceLoss', loss_name='loss_dice', loss_weight=3.0)]),
    auxiliary_head=dict(
        sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100),
        loss_decode=dict(_delete_=True, type='SoftDiceLoss', loss_weight=0.4)))
"""


def main():
    with open('head.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('head.py')
    cfg.work_dir = 'work_dirs/head'
    runner = Runner.from_cfg(cfg)
    model = runner.model
    assert isinstance(model, BaseModel) and isinstance(model.decode_head, BaseModule)
    assert isinstance(model.decode_head.sampler, BasePixelSampler)
    runner.train()
    names = set(runner.message_hub.log_scalars)
    assert {'train/decode.loss_ce', 'train/decode.loss_dice', 'train/aux.loss_dice'} <= names
    assert build_loss(dict(type='SoftDiceLoss')).loss_name == 'loss_dice'
    assert issubclass(ConfigType, dict)
