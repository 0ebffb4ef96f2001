# The second and the third validation count as no improvement: training ends at iteration 6 of 8.
_base_ = './net.py'
train_cfg = dict(val_interval=2)
custom_hooks = [dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=100.0, patience=2)]
default_hooks = dict(checkpoint=dict(interval=2))
