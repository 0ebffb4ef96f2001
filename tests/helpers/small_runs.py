"""Runs of a tenth of a second under every kind of option that has something to save.

``OPTIONS`` has changes of ``small_config`` by name; ``small_config`` applies one of them. Five
iterations; checkpoints after 2, 4 and 5, validations after 3 and 5: either is due alone, and both
at the end. By epochs three of two iterations.
"""

from pathlib import Path
from typing import Any

import torch
from helpers.tiny_net import TinyBackbone
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from segkit.models.segmentors import EncoderDecoder
from segkit.registry import HOOKS, LOOPS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS

MODELS.register_module(name='segkit_test_tiny', module=TinyBackbone, force=True)


@MODELS.register_module(name='segkit_test_two_optimizers', force=True)
class TwoOptimizers(EncoderDecoder):
    """Its own train step: backbone and head have an optimizer each, the head's every other time."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict:
        data = self.data_preprocessor(data, True)
        total, logs = self.parse_losses(self(**data, mode='loss'))
        backbone, head = optim_wrapper['backbone'], optim_wrapper['head']
        backbone.zero_grad()
        total.backward()
        backbone.step()
        if self.count % 2:
            head.step()
            head.zero_grad()
        self.count += 1
        return logs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer('count', torch.tensor(0))


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(name='segkit_test_by_part', force=True)
class ByPart:
    """An AdamW for the backbone, SGD for the head."""

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        pass

    def __call__(self, model: Any) -> OptimWrapperDict:
        model = getattr(model, 'module', model)
        backbone = torch.optim.AdamW(model.backbone.parameters(), 1e-2)
        head = torch.optim.SGD(model.decode_head.parameters(), 0.05, momentum=0.9)
        return OptimWrapperDict(backbone=OptimWrapper(backbone), head=OptimWrapper(head))


@HOOKS.register_module(name='segkit_test_remembers', force=True)
class Remembers(Hook):
    """State of its own: a sum of losses in the checkpoint, and a count in the message hub; it
    scales the weights by the sum, so that a state that is lost shows in them."""

    def __init__(self) -> None:
        self.sum = 0.0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.sum += float(outputs['loss'])
        runner.message_hub.update_info('seen', runner.message_hub.get_info('seen', 0) + 1)
        with torch.no_grad():
            runner.bare_model.decode_head.conv_seg.weight.mul_(1 - 1e-3 * self.sum)

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint['remembered'] = self.sum

    def after_load_checkpoint(self, runner, checkpoint):
        self.sum = checkpoint['remembered']


# Loops of others that change nothing.
LOOPS.register_module(
    name='segkit_test_epochs', module=type('Epochs', (EpochBasedTrainLoop,), {}), force=True
)
LOOPS.register_module(
    name='segkit_test_iterations', module=type('Iterations', (IterBasedTrainLoop,), {}), force=True
)


def _pictures(split: str, count: int, **more: Any) -> dict:
    return dict(
        type='ShapesDataset', split=split, num_images=count, size=(64, 64), serialize_data=False,
        **more,
    )  # fmt: skip


def _base() -> dict:
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    pack = dict(type='PackSegInputs')
    augment = [dict(type='RandomCrop', crop_size=(24, 24)), dict(type='RandomFlip', prob=0.5)]
    return dict(
        default_scope='segkit',
        model=dict(
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor', mean=[127.5] * 3, std=[64.0] * 3),
            backbone=dict(type='segkit_test_tiny'),
            decode_head=dict(
                type='FCNHead', in_channels=6, channels=8, num_classes=13, num_convs=1, in_index=0,
                concat_input=False, dropout_ratio=0.1, norm_cfg=dict(type='BN'),
                align_corners=False),
            train_cfg=dict(),
            test_cfg=dict(mode='whole')),
        train_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
            dataset=_pictures('train', 4, pipeline=[*load, *augment, pack])),
        val_dataloader=dict(
            batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=_pictures('val', 2, test_mode=True, pipeline=[*load, pack])),
        val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=5, val_interval=3),
        val_cfg=dict(type='ValLoop'),
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=[dict(type='PolyLR', eta_min=1e-4, power=0.9, end=5, by_epoch=False)],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(
                type='CheckpointHook', interval=2, max_keep_ckpts=2, save_best='mIoU')),
        env_cfg=dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0)),
        log_processor=dict(by_epoch=False, window_size=3),
        randomness=dict(seed=7),
    )  # fmt: skip


_FILES = 'default_hooks.checkpoint.'
_EPOCHS = {
    'train_cfg': dict(by_epoch=True, max_epochs=3, val_interval=1),
    'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True),
    'param_scheduler': [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
        dict(type='MultiStepLR', milestones=[1, 2], by_epoch=True),
    ],
}
OPTIONS: dict[str, dict[str, Any]] = {
    'plain': {},
    'all kept': {_FILES + 'max_keep_ckpts': -1},
    'epochs': {
        **_EPOCHS, _FILES + 'by_epoch': True, _FILES + 'interval': 2,
        'log_processor.by_epoch': True, 'default_hooks.logger.log_metric_by_epoch': True,
    },
    'epochs, files by iterations': {**_EPOCHS, 'train_cfg.val_interval': 2},
    'epochs of an odd number': {**_EPOCHS, 'train_dataloader.dataset.num_images': 5},
    'epochs, the rest left out': {
        **_EPOCHS, 'train_dataloader.dataset.num_images': 5, 'train_dataloader.drop_last': True},
    'epochs, steps of batches of two': {
        **_EPOCHS, 'train_dataloader.dataset.num_images': 6, 'train_cfg.accumulate': 2},
    'epochs, accumulated across them': {
        **_EPOCHS, 'train_dataloader.dataset.num_images': 6,
        'optim_wrapper.accumulative_counts': 2},
    'epochs, validations of changing intervals': {
        **_EPOCHS, 'train_cfg.dynamic_intervals': [(2, 2)], _FILES + 'by_epoch': True},
    'epochs of a loop of others': {
        **_EPOCHS,
        'train_cfg': dict(type='segkit_test_epochs', max_epochs=3, val_interval=2)},
    'iterations of a loop of others': {'train_cfg.type': 'segkit_test_iterations'},
    'epochs, saved at validations': {
        **_EPOCHS,
        _FILES + 'interval': None,
        'train_cfg.val_interval': 2,
    },
    'averages': {'custom_hooks': [
        dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1, begin_iter=2)]},
    'accumulate': {'train_cfg.accumulate': 2},
    'accumulate across iterations': {'optim_wrapper.accumulative_counts': 3},
    'bf16': {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
    'early stopping': {'custom_hooks': [
        dict(type='EarlyStoppingHook', monitor='mIoU', patience=1, min_delta=99.0)],
        'train_cfg.val_interval': 1},
    'two best, one kept': {
        _FILES + 'save_best': ['mIoU', 'val_loss'], _FILES + 'max_keep_ckpts': 1,
        'val_cfg.val_loss': True, 'train_cfg.val_interval': 2},
    'losses of validation': {_FILES + 'save_best': 'val_loss', 'val_cfg.val_loss': True},
    'validations of changing intervals': {
        'train_cfg.val_begin': 2, 'train_cfg.val_interval': 2,
        'train_cfg.dynamic_intervals': [(4, 1)]},
    'files elsewhere': {_FILES + 'out_dir': 'ELSEWHERE'},
    'in a store': {'work_dir': 's3://pictures/RUN'},
    'a hook with state': {'custom_hooks': [dict(type='segkit_test_remembers')]},
    'two optimizers': {
        'model.type': 'segkit_test_two_optimizers',
        'optim_wrapper': dict(constructor='segkit_test_by_part')},
    'frozen': {'freeze': ['backbone.*']},
    'workers': {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': True},
    'schedule by scores': {'train_cfg.val_interval': 1, 'param_scheduler': [
        dict(type='ReduceOnPlateauLR', monitor='mIoU', rule='greater', patience=0)]},
    'passes over the data': {'train_dataloader.sampler': dict(type='DefaultSampler', shuffle=True)},
    'no validation': {'val_cfg': None, 'val_dataloader': None, 'val_evaluator': None},
    'saved at validations': {_FILES + 'interval': None},
    'saved at the end': {_FILES + 'interval': -1},
    'two ranks': {'val_dataloader.dataset.num_images': 5, 'train_cfg.val_interval': 2},
    'a file name of its own': {_FILES + 'filename_tmpl': 'model_{}.pth'},
}  # fmt: skip


def small_config(work_dir: Path, option: str, **more: Any) -> Config:
    """The config under one of ``OPTIONS``; folders outside of the run lie beside ``work_dir``."""
    cfg = Config(_base())
    cfg.work_dir = str(work_dir)
    for key, value in {**OPTIONS[option], **more}.items():
        if value == 'ELSEWHERE':
            value = str(work_dir.with_name(work_dir.name + '_elsewhere'))
        if isinstance(value, str):
            value = value.replace('RUN', f'{work_dir.parent.name}_{work_dir.name}')
        place, _, name = key.rpartition('.')
        part = cfg
        for step in place.split('.') if place else []:
            part = part[step]
        part[name] = value
    return cfg
