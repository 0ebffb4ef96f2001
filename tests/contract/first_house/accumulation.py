_base_ = './net.py'
train_cfg = dict(accumulate=2)
