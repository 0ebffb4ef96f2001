"""ResNet50-Baseline of the paper's table 1: the dilated FCN without any context."""

_base_ = [
    '../../_base_/models/fcn_r50-d8.py', '../../_base_/datasets/ade20k_paper.py',
    '../../_base_/default_runtime.py', '../../_base_/schedules/schedule_150k.py']

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(num_classes=150, align_corners=True),
    auxiliary_head=dict(num_classes=150, align_corners=True),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(310, 310)))
optim_wrapper = dict(optimizer=dict(weight_decay=0.0001))
