"""AdamW for 160,000 iterations: a warm-up, then linear decay to 0."""

_base_ = './adamw.py'

max_iters, warmup_iters = 160000, 1500
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=warmup_iters, by_epoch=False),
    dict(
        type='PolyLR', eta_min=0.0, power=1.0, begin=warmup_iters, end=max_iters,
        by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
