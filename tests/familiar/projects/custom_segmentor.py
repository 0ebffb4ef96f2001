"""A segmentor, a data preprocessor, a metric and a hook of one's own."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.evaluation.metrics.iou_metric import IoUMetric
from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.models.segmentors.encoder_decoder import EncoderDecoder
from mmseg.registry import HOOKS, METRICS, MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix, stack_batch

SEEN = dict(forward_train=0, auxiliary=0, preprocessed=0, hook=0, postprocessed=0)


@MODELS.register_module()
class TwoPassSegmentor(EncoderDecoder):

    def _decode_head_forward_train(self, inputs, data_samples):
        losses = dict()
        loss_decode = self.decode_head.loss(inputs, data_samples, self.train_cfg)
        losses.update(add_prefix(loss_decode, 'decode'))
        losses['decode.loss_norm'] = 1e-4 * sum(x.pow(2).mean() for x in inputs)
        SEEN['forward_train'] += 1
        return losses

    def _auxiliary_head_forward_train(self, inputs, data_samples):
        SEEN['auxiliary'] += 1
        return super()._auxiliary_head_forward_train(inputs, data_samples)

    def encode_decode(self, inputs, batch_img_metas):
        first = super().encode_decode(inputs, batch_img_metas)
        second = super().encode_decode(inputs.flip(3), batch_img_metas).flip(3)
        return (first + second) / 2

    def postprocess_result(self, seg_logits, data_samples=None):
        assert isinstance(seg_logits, torch.Tensor) and seg_logits.shape[1] == 3
        results = super().postprocess_result(seg_logits, data_samples)
        assert all(isinstance(sample, SegDataSample) for sample in results)
        SEEN['postprocessed'] += 1
        return results


@MODELS.register_module()
class GreyPreProcessor(SegDataPreProcessor):

    def forward(self, data, training=False):
        data = self.cast_data(data)
        inputs, data_samples = data['inputs'], data.get('data_samples', None)
        if self.channel_conversion and inputs[0].size(0) == 3:
            inputs = [_input[[2, 1, 0], ...] for _input in inputs]
        inputs = [_input.float() for _input in inputs]
        if self._enable_normalize:
            inputs = [(_input - self.mean) / self.std for _input in inputs]
        inputs = [_input.mean(0, keepdim=True).repeat(3, 1, 1) for _input in inputs]
        if training:
            inputs, data_samples = stack_batch(
                inputs=inputs, data_samples=data_samples, size=self.size,
                size_divisor=self.size_divisor, pad_val=self.pad_val,
                seg_pad_val=self.seg_pad_val)
        else:
            inputs = torch.stack(inputs, dim=0)
        SEEN['preprocessed'] += 1
        return dict(inputs=inputs, data_samples=data_samples)


@METRICS.register_module()
class WorstClassMetric(IoUMetric):

    def compute_metrics(self, results):
        if self.format_only:
            return dict()
        results = tuple(zip(*results))
        assert len(results) == 4
        total_area_intersect = sum(results[0])
        total_area_union = sum(results[1])
        iou = (total_area_intersect / total_area_union).numpy()
        ret = self.total_area_to_metrics(
            total_area_intersect, total_area_union, sum(results[2]), sum(results[3]),
            self.metrics, self.nan_to_num, self.beta)
        assert np.allclose(ret['IoU'], iou, equal_nan=True)
        return dict(worst=np.nanmin(iou) * 100, mIoU=np.nanmean(iou) * 100)


@METRICS.register_module()
class BorderlessMetric(IoUMetric):

    def process(self, data_batch, data_samples):
        num_classes = len(self.dataset_meta['classes'])
        for data_sample in data_samples:
            pred_label = data_sample['pred_sem_seg']['data'].squeeze()
            label = data_sample['gt_sem_seg']['data'].squeeze().to(pred_label)
            self.results.append(self.intersect_and_union(
                pred_label[1:-1, 1:-1], label[1:-1, 1:-1], num_classes, self.ignore_index))


@HOOKS.register_module()
class SayLossHook(Hook):

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        if hasattr(model, 'module'):
            model = model.module
        assert outputs['loss'] > 0 and model.training
        runner.logger.info(f'loss {outputs["loss"]:.3f} of {runner.iter} in {runner.max_iters}')
        SEEN['hook'] += 1


CONFIG = """
_base_ = './base_config.py'
model = dict(type='TwoPassSegmentor', data_preprocessor=dict(type='GreyPreProcessor'))
val_evaluator = [
    dict(type='WorstClassMetric', iou_metrics=['mIoU']),
    dict(type='BorderlessMetric', iou_metrics=['mIoU'], prefix='inner')]
test_evaluator = val_evaluator
custom_hooks = [dict(type='SayLossHook', priority='LOW')]
"""


def main():
    with open('segmentor.py', 'w') as file:
        file.write(CONFIG)
    cfg = Config.fromfile('segmentor.py')
    cfg.work_dir = 'work_dirs/segmentor'
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = runner.test()
    assert 0 <= scores['worst'] <= scores['mIoU'] <= 100
    assert 0 <= scores['inner/mIoU'] <= 100
    assert all(SEEN.values()), SEEN
