"""ResNet50+DISTRIBUTE of the paper's table 1."""

_base_ = './psanet_r50-d8_465x465_150k_ade20k.py'

model = dict(decode_head=dict(psa_type='distribute'))
