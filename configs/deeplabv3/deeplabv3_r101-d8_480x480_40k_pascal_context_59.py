_base_ = [
    '../_base_/models/deeplabv3_r50-d8.py', '../_base_/datasets/pascal_context_59.py',
    '../_base_/default_runtime.py', '../_base_/schedules/schedule_40k.py']

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    pretrained='open-mmlab://resnet101_v1c',
    backbone=dict(depth=101),
    decode_head=dict(num_classes=59),
    auxiliary_head=dict(num_classes=59),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(320, 320)))
optim_wrapper = dict(optimizer=dict(lr=0.004, weight_decay=0.0001))
