_base_ = './net.py'
custom_hooks = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.2)]
