"""ResNet50+COLLECT+DISTRIBUTE of the paper's table 1, trained by the paper's own ADE20K recipe."""

_base_ = [
    '../../_base_/models/psanet_r50-d8.py', '../../_base_/datasets/ade20k_paper.py',
    '../../_base_/default_runtime.py', '../../_base_/schedules/schedule_150k.py']

# A 465 crop is 59 x 59 at stride 8 and 30 x 30 after shrinking by 2: 2 x 30 - 1 offsets a side.
model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    decode_head=dict(mask_size=(59, 59), num_classes=150, align_corners=True),
    auxiliary_head=dict(num_classes=150, align_corners=True),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(310, 310)))
optim_wrapper = dict(optimizer=dict(weight_decay=0.0001))
