"""ResNet50+COLLECT(Compact) of the paper's table 1: a mask of H x W, without relative positions."""

_base_ = './psanet_r50-d8_465x465_150k_ade20k.py'

model = dict(decode_head=dict(psa_type='collect', compact=True, mask_size=(30, 30)))
