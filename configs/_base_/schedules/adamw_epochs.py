"""AdamW in bfloat16 for 100 epochs: two of warm-up, then a cosine to 0, ten validations.

The training data needs a sampler that ends: sampler=dict(type='DefaultSampler', shuffle=True).
"""

_base_ = './adamw_bf16.py'

max_epochs, warmup_epochs = 100, 2
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, begin=0, end=warmup_epochs, by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR', eta_min=0.0, begin=warmup_epochs, end=max_epochs,
        T_max=max_epochs - warmup_epochs, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs // 10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
