"""Cityscapes to train and validate on, Nighttime Driving (50 images) to test on."""

_base_ = './dark_zurich.py'

test_dataloader = dict(
    dataset=dict(
        type='NightDrivingDataset',
        data_root='data/NighttimeDrivingTest/',
        data_prefix=dict(
            img_path='leftImg8bit/test/night',
            seg_map_path='gtCoarse_daytime_trainvaltest/test/night')))
