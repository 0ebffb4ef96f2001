"""AdamW for 160,000 iterations: a warm-up, then linear decay to 0; no decay of norms' weights.

The head learns ten times as fast as the encoder, which starts from ImageNet weights.
"""

_base_ = './schedule_160k.py'

warmup_iters = 1500
optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(custom_keys={'norm': dict(decay_mult=0.0), 'head': dict(lr_mult=10.0)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=warmup_iters, by_epoch=False),
    dict(
        type='PolyLR', eta_min=0.0, power=1.0, begin=warmup_iters, end=_base_.max_iters,
        by_epoch=False)]
