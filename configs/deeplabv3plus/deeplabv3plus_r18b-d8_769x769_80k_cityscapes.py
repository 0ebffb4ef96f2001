_base_ = './deeplabv3plus_r18-d8_769x769_80k_cityscapes.py'

model = dict(pretrained='torchvision://resnet18', backbone=dict(type='ResNet'))
