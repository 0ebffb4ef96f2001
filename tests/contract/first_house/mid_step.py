_base_ = './net.py'
optim_wrapper = dict(accumulative_counts=3)
