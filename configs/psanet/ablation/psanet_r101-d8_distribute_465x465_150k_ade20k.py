"""The ResNet101 row of the same table."""

_base_ = './psanet_r50-d8_distribute_465x465_150k_ade20k.py'

model = dict(pretrained='open-mmlab://resnet101_v1c', backbone=dict(depth=101))
