_base_ = './segformer_mit-b0_8x1_1024x1024_160k_cityscapes.py'

model = dict(
    pretrained='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
               'mit_b5_20220624-658746d9.pth',
    backbone=dict(embed_dims=64, num_layers=(3, 6, 40, 3)),
    decode_head=dict(in_channels=[64, 128, 320, 512]))
