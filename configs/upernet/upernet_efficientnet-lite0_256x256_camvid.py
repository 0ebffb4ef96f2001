"""UPerNet on EfficientNet-Lite0: what one core trains on CamVid in six minutes (docs/camvid.md).

Needs timm; tools/benchmarks/camvid.py sets the weights to start from.
"""

_base_ = [
    '../_base_/models/upernet_r50.py', '../_base_/datasets/camvid.py',
    '../_base_/schedules/adamw.py', '../_base_/default_runtime.py']

crop_size = (256, 256)
max_iters, warmup_iters = 500, 50
channels_last = True
model = dict(
    pretrained=None,
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, size=crop_size),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='tf_efficientnet_lite0',
        pretrained=True,
        out_indices=(1, 2, 3, 4)),
    decode_head=dict(
        in_channels=[24, 40, 112, 320],
        channels=64,
        num_classes=11,
        # A classifier that starts near zero costs AdamW the first hundred of so few steps.
        init_cfg=dict(
            type='Xavier', distribution='uniform', override=dict(name='conv_seg'))),
    auxiliary_head=None)
train_pipeline = [
    {**t, **dict(RandomResize=dict(ratio_range=(0.75, 1.5)),
                 RandomCrop=dict(crop_size=crop_size)).get(t['type'], {})}
    for t in _base_.train_pipeline]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(base_batch_size=4)  # one process
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys=dict(_delete_=True, head=dict(lr_mult=10.0))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=warmup_iters, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=0.9, begin=warmup_iters, end=max_iters, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
