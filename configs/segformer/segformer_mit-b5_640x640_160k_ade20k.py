_base_ = [
    '../_base_/models/segformer_mit-b0.py', '../_base_/datasets/ade20k_640x640.py',
    '../_base_/default_runtime.py', '../_base_/schedules/adamw_160k.py']

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    pretrained='https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
               'mit_b5_20220624-658746d9.pth',
    backbone=dict(embed_dims=64, num_layers=(3, 6, 40, 3)),
    decode_head=dict(num_classes=150, in_channels=[64, 128, 320, 512]))
train_dataloader = dict(batch_size=2, num_workers=2)
auto_scale_lr = dict(base_batch_size=16)  # 8 GPUs x 2
