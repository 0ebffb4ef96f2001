_base_ = [
    '../_base_/models/segformer_mit-b0.py', '../_base_/datasets/cityscapes_1024x1024.py',
    '../_base_/default_runtime.py', '../_base_/schedules/adamw_160k.py']

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    test_cfg=dict(mode='slide', crop_size=_base_.crop_size, stride=(768, 768)))
train_dataloader = dict(batch_size=1, num_workers=4)
auto_scale_lr = dict(base_batch_size=8)  # 8 GPUs x 1
