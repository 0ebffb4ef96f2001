"""SGD for 320,000 iterations, poly decay to 1e-4, ten validations."""

_base_ = './poly.py'

max_iters = 320000
param_scheduler = [{**_base_.param_scheduler[0], 'end': max_iters}]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
