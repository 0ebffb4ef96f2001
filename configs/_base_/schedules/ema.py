"""A moving average of the weights beside any schedule: it is validated, saved and published."""

custom_hooks = [
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.0002, priority=49)]
