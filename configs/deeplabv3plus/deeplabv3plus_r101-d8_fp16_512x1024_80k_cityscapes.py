_base_ = './deeplabv3plus_r101-d8_512x1024_80k_cityscapes.py'

optim_wrapper = dict(type='AmpOptimWrapper', dtype='fp16', loss_scale=512.0)
